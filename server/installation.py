"""What is installed: interpreters, SQLite and its extensions, the embedder, extras, domains. Findings for `doctor`."""

from __future__ import annotations

import asyncio
import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement

from ..database.connection import find_driver
from ..database.migrations import migrate
from ..database.search.embedders import weights
from ..database.search.embedders.choice import chosen_kind, make_embedder
from ..domains.loader import domain_names, find_domain
from ..evolution.errors import EmbedderUnavailable, EvolveError, SandboxUnavailable
from ..sandbox.interpreter import describe_interpreter
from ..sandbox.requirements import install_command, told, unmet
from .findings import Finding
from .settings import Settings

PYSQLITE = f"{sys.executable} -m pip install pysqlite3"

EXTRAS = {
    "architecture": "candidates that are networks in torch",
    "rl": "candidates that are reinforcement learning algorithms",
    "dti": "candidates that predict how drugs bind to targets",
    "curation": "candidates that select training data",
    "gpu": "fast kernels, and watching the memory of GPUs",
}
"""Each extra of pyproject.toml with what it is for; `all`, `test` and `equality` are left out."""


def interpreter(settings: Settings) -> Finding:
    """The Python of the server, and the one that candidates run under."""
    own = f"Python {platform.python_version()} at {sys.executable}"
    inside = settings.python or sys.executable
    try:
        theirs = describe_interpreter(inside, ()).versions["python"]
    except SandboxUnavailable as error:
        return Finding("interpreter", "problem", str(error), "name another in ASI_EVOLVE_PYTHON")
    if inside == sys.executable:
        return Finding("interpreter", "ok", f"{own}, for candidates as well")
    return Finding("interpreter", "ok", f"{own}; candidates run under Python {theirs} at {inside}")


def sqlite(_: Settings) -> Finding:
    """Opens a database in a folder of its own and makes all its tables."""
    try:
        driver = find_driver()
        with tempfile.TemporaryDirectory() as folder:
            migrate(Path(folder) / "check.db", driver)
    except EvolveError as error:
        return Finding("sqlite", "problem", str(error), PYSQLITE)
    # What a driver without FTS5 raises is its own choice.
    except Exception as error:  # noqa: BLE001
        return Finding("sqlite", "problem", f"a test database could not be made: {error}", PYSQLITE)
    return Finding("sqlite", "ok", f"SQLite {driver.sqlite_version} through {driver.name}, with full-text search")


def extension_loading(_: Settings) -> Finding:
    """Loads sqlite-vec and asks it for a distance."""
    try:
        connection = find_driver().connect(Path(":memory:"))
        try:
            found, distance = connection.execute("SELECT vec_version(), vec_distance_l2('[0, 0]', '[3, 4]')").fetchone()
        finally:
            connection.close()
    except Exception as error:  # noqa: BLE001 -- as above
        return Finding("sqlite extensions", "problem", f"sqlite-vec cannot be loaded: {error}", PYSQLITE)
    if distance != 5.0:
        text = f"sqlite-vec {found} says that (0, 0) and (3, 4) are {distance} apart"
        return Finding(
            "sqlite extensions", "problem", text, f"{sys.executable} -m pip install --force-reinstall sqlite-vec"
        )
    return Finding("sqlite extensions", "ok", f"can be loaded; sqlite-vec {found} works")


def embedder(settings: Settings) -> Finding:
    """What searches go by. Weights are loaded and an endpoint is asked, so that it is certain."""
    options = settings.embedder_options()
    chosen = make_embedder(options)
    if chosen is None and options.kind == "lexical":
        return Finding("embedder", "ok", "lexical: search is by words, as ASI_EVOLVE_EMBEDDER says")
    if chosen is None:
        text = "lexical: search is by words, since no weights of all-MiniLM-L6-v2 were found for search by meaning"
        return Finding("embedder", "optional", text, weights.REMEDY)
    try:
        asyncio.run(chosen.prepare())
    except EmbedderUnavailable as error:
        remedy = "check the settings ASI_EVOLVE_EMBEDDER_*" if chosen_kind(options) == "openai" else weights.REMEDY
        return Finding("embedder", "warning", f"search is by words: {error}", remedy)
    text = f"{chosen.fingerprint}: {chosen.source}"
    if options.api_key is not None and chosen.source.startswith("http://"):
        return Finding("embedder", "warning", f"{text}; the key goes there in clear", "use https, or no key")
    return Finding("embedder", "ok", text)


def extras(settings: Settings) -> list[Finding]:
    """Which optional parts are there, asked of the interpreter that candidates run under."""
    python = settings.python or sys.executable
    wanted = declared_extras(requires("asi-evolve-mcp") or [])
    names = sorted({requirement.name for needed in wanted.values() for requirement in needed})
    try:
        versions = describe_interpreter(python, names).versions
    except SandboxUnavailable:
        return [_not_asked("extras", python)]
    return [_extra(name, needed, versions, python) for name, needed in wanted.items()]


def declared_extras(requirements: Iterable[str]) -> dict[str, list[Requirement]]:
    """The requirements of each extra that apply to this machine, out of those of a distribution."""
    parsed = [Requirement(text) for text in requirements]
    return {
        extra: [
            requirement
            for requirement in parsed
            if requirement.marker is not None
            and requirement.marker.evaluate({"extra": extra})
            and not requirement.marker.evaluate({"extra": ""})
        ]
        for extra in EXTRAS
    }


def _extra(name: str, needed: list[Requirement], versions: Mapping[str, str], python: str) -> Finding:
    subject, purpose = f"extra {name}", EXTRAS[name]
    lacking = unmet(needed, versions)
    if not lacking:
        have = ", ".join(f"{requirement.name} {versions[requirement.name]}" for requirement in needed)
        return Finding(subject, "ok", f"for {purpose}: {have or 'nothing is needed here'}")
    missing = ", ".join(requirement.name for requirement in lacking)
    return Finding(subject, "optional", f"for {purpose}: lacks {missing}", install_command(python, lacking))


def domains(settings: Settings) -> list[Finding]:
    """Whether each domain can be read, and has what it requires."""
    return [_domain(name, settings.python or sys.executable) for name in domain_names()]


def _domain(name: str, python: str) -> Finding:
    subject = f"domain {name}"
    try:
        domain = find_domain(name)
        domain.cognition()
        needed = [Requirement(text) for text in domain.spec.domain.requirements]
        versions = describe_interpreter(python, [requirement.name for requirement in needed]).versions
    except SandboxUnavailable:
        return _not_asked(subject, python)
    except EvolveError as error:
        return Finding(subject, "warning", str(error), "mend what is named, or remove it")
    lacking = unmet(needed, versions)
    if lacking:
        return Finding(subject, "warning", f"needs {told(lacking, versions)}", install_command(python, lacking))
    return Finding(subject, "ok", "ready")


def _not_asked(subject: str, python: str) -> Finding:
    return Finding(subject, "warning", f"{python} could not be asked what it has", "see interpreter above")


def own_version() -> str:
    """Of this package."""
    return version("asi-evolve-mcp")
