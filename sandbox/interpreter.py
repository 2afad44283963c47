"""The Python that runs inside a sandbox: where it lies and what it has. Asked of the interpreter itself."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evolution.errors import SandboxUnavailable

ASK_TIMEOUT_S = 30.0
TOO_BROAD = ("/", "/home", "/root", "/tmp", "/var", "/opt", "/srv", "/mnt", "/Users")  # noqa: S108 -- refused, not used

MISSING = "missing"
"""In place of the version of a package that is not there."""

_QUESTION = """
import json, platform, sys
from importlib.metadata import PackageNotFoundError, version
versions = {"python": platform.python_version()}
for package in sys.argv[2:]:
    try:
        versions[package] = version(package)
    except PackageNotFoundError:
        versions[package] = sys.argv[1]
prefixes = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]
print(json.dumps({"prefixes": prefixes, "versions": versions}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python installation."""

    executable: str
    roots: tuple[str, ...]
    """Folders that it needs to run: its own and, for a virtual environment, that of the Python it was made from."""
    versions: dict[str, str]
    """`python` and the distributions that were asked for."""

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Interpreter:
        """From what `dataclasses.asdict` made of one."""
        return cls(fields["executable"], tuple(fields["roots"]), fields["versions"])


def describe_interpreter(executable: str, packages: Sequence[str]) -> Interpreter:
    """Ask an interpreter about itself.

    Raises:
        SandboxUnavailable: it does not start, or lies in a folder that cannot be shown to a candidate.
    """
    executable = os.path.abspath(executable)  # noqa: PTH100 -- inside, "x/../venv" leads nowhere: there is no x
    try:
        asked = subprocess.run(
            [executable, "-I", "-c", _QUESTION, MISSING, *packages],
            capture_output=True,
            timeout=ASK_TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        told = json.loads(asked.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SandboxUnavailable(f"Expected {executable} to be a Python that starts, but {_why(error)}.") from error
    return Interpreter(executable, _roots(executable, told["prefixes"]), told["versions"])


class Interpreters:
    """Each is asked once for as long as neither the interpreter nor its packages change."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Interpreter] = {}

    def of(self, executable: str, packages: Sequence[str]) -> Interpreter:
        """As `describe_interpreter`."""
        changed = tuple(_modified(path) for path in (executable, *_package_folders(executable)))
        key = (executable, tuple(packages), changed)
        if key not in self._known:
            self._known[key] = describe_interpreter(executable, packages)
        return self._known[key]


def _package_folders(executable: str) -> list[str]:
    """Folders whose modification time changes when a package is installed."""
    return [str(path) for path in Path(executable).parent.parent.glob("lib/python3*/site-packages")]


def _modified(path: str) -> float:
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return 0.0


def _why(error: Exception) -> str:
    """Without the question itself, which the errors of `subprocess` quote."""
    match error:
        case subprocess.TimeoutExpired():
            return f"it did not answer within {ASK_TIMEOUT_S:.0f} s"
        case subprocess.CalledProcessError(returncode=status, stderr=bytes(words)):
            last = words.decode(errors="backslashreplace").strip().splitlines()[-1:] or ["it printed nothing"]
            return f"it left with status {status}: {last[0]}"
        case ValueError():
            return "its answer is none that a Python gives"
        case _:
            return str(error)


def _roots(executable: str, prefixes: Sequence[str]) -> tuple[str, ...]:
    """Prefixes, also behind links, and the folders that the links of the executable lead through."""
    wanted = [*prefixes, *(str(hop.parent.parent) for hop in _hops(Path(executable)) if hop.parent.name == "bin")]
    found = dict.fromkeys(os.path.abspath(path) for path in [*wanted, *map(os.path.realpath, wanted)])  # noqa: PTH100
    roots = [path for path in found if not Path(path).is_relative_to("/usr") and Path(path).is_dir()]
    for path in roots:
        if path in TOO_BROAD or path == _home():
            raise SandboxUnavailable(
                f"Expected {executable} to lie in a folder of its own, but it needs all of {path}, which a candidate "
                "must not see. Make a virtual environment (python -m venv) and name it in ASI_EVOLVE_PYTHON."
            )
    return tuple(
        path for path in roots if not any(path != other and Path(path).is_relative_to(other) for other in roots)
    )


def _home() -> str | None:
    """`None` for a user without one: a bare number in a container."""
    try:
        return str(Path.home())
    except RuntimeError:
        return None


def _hops(path: Path) -> list[Path]:
    """The executable and every link on the way to the file itself."""
    hops = [path]
    while hops[-1].is_symlink() and len(hops) < 40:
        hops.append(hops[-1].parent / hops[-1].readlink())
    return hops
