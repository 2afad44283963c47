"""What a domain needs to be installed, beside what an interpreter has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from packaging.requirements import Requirement

from ..evolution.errors import SandboxUnavailable
from .interpreter import MISSING, Interpreter


def requirement_names(requirements: Iterable[str]) -> list[str]:
    """Distribution names out of pip requirement strings."""
    return [Requirement(text).name for text in requirements]


def unmet(needed: Iterable[Requirement], versions: Mapping[str, str]) -> list[Requirement]:
    """Requirements that are missing, or there in a version that will not do."""
    return [
        requirement
        for requirement in needed
        if (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
        and (
            versions[requirement.name] == MISSING
            or not requirement.specifier.contains(versions[requirement.name], prereleases=True)
        )
    ]


def install_command(python: str, lacking: Iterable[Requirement]) -> str:
    """A command line for a shell, which would take a bare `>` for something else."""
    wanted = " ".join(f"'{requirement.name}{requirement.specifier}'" for requirement in lacking)
    return f"{python} -m pip install {wanted}"


def told(lacking: Iterable[Requirement], versions: Mapping[str, str]) -> str:
    """The requirements with what is there in their place."""
    return ", ".join(f"{requirement} ({versions[requirement.name]})" for requirement in lacking)


def demand(domain: str, requirements: Sequence[str], interpreter: Interpreter) -> None:
    """An import that fails in a sandbox would count against the candidate; so it does not get that far.

    Raises:
        SandboxUnavailable: the interpreter lacks something; the message has the command that installs it.
    """
    lacking = unmet(map(Requirement, requirements), interpreter.versions)
    if lacking:
        raise SandboxUnavailable(
            f"Domain {domain} needs {told(lacking, interpreter.versions)} in the Python that candidates run under. Do: "
            f"{install_command(interpreter.executable, lacking)}"
        )
