"""A domain's own cases for `check-domain`: what must be refused and what must be scored, beside `domain.toml`.

    refused/NAME.py, refused/NAME/     must end as `invalid_output`
    scored/NAME.py, scored/NAME/       must be scored
    refused/NAME.toml                  optional, beside either: `instance`, `reason`
    scored/NAME.toml                   optional, beside either: `instance`, `score`

A file is a candidate, as the one file that `code` fills. A folder that holds the candidate's entry is a candidate as
well; any other folder holds output files, which are judged without a run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from ..evolution.errors import DomainError
from .loader import Domain


class CaseSettings(BaseModel):
    """`NAME.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instance: str | None = None
    """The domain's first where it is left out."""
    reason: str | None = None
    """Words that the refusal must hold."""
    score: FiniteFloat | None = None
    """Up to a relative 1e-9."""


@dataclass(frozen=True)
class OwnCase:
    """One case."""

    name: str
    """Such as `refused/overlap`."""
    must_be_scored: bool
    settings: CaseSettings
    candidate: dict[str, str] | None
    """Path to text of a program to run."""
    outputs: dict[str, bytes] | None
    """Output files to judge as they are."""


def own_cases(domain: Domain) -> list[OwnCase]:
    """The cases of a domain, refused ones first.

    Raises:
        DomainError: a case cannot be read, or its settings make no sense.
    """
    return [case for kind in ("refused", "scored") for case in _of_kind(domain, kind)]


def _of_kind(domain: Domain, kind: str) -> Iterator[OwnCase]:
    root = domain.folder / kind
    if not root.is_dir():
        return
    paths = [path for path in sorted(root.iterdir()) if not path.name.startswith((".", "__"))]
    names = {path.stem if path.is_file() else path.name for path in paths if path.suffix != ".toml" or path.is_dir()}
    for path in paths:
        if path.is_file() and path.suffix == ".toml" and path.stem not in names:
            raise DomainError(f"{path}: expected a case {path.stem} beside it, but there is none.")
    for path in paths:
        if path.is_dir() or path.suffix != ".toml":
            yield _read(domain, kind, path)


def _read(domain: Domain, kind: str, path: Path) -> OwnCase:
    entry = domain.spec.candidate.entry
    if path.is_file():
        files = {entry: path.read_bytes()}
        name = path.stem
    else:
        files = {
            file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()
        }
        name = path.name
    settings = _settings(domain, kind, path.parent / f"{name}.toml")
    if entry in files:
        return OwnCase(f"{kind}/{name}", kind == "scored", settings, _texts(path, files), None)
    declared = {output.file for output in domain.spec.outputs.values()}
    if not files or set(files) - declared:
        raise DomainError(
            f"{path}: expected output files out of {sorted(declared)} or a candidate with {entry}, "
            f"but it holds {sorted(files) or 'nothing'}."
        )
    return OwnCase(f"{kind}/{name}", kind == "scored", settings, None, files)


def _texts(path: Path, files: dict[str, bytes]) -> dict[str, str]:
    try:
        return {name: data.decode("utf-8") for name, data in files.items() if "__pycache__" not in name}
    except UnicodeDecodeError as error:
        raise DomainError(f"{path}: expected a candidate in UTF-8, but {error}.") from error


def _settings(domain: Domain, kind: str, path: Path) -> CaseSettings:
    if not path.is_file():
        return CaseSettings()
    try:
        settings = CaseSettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DomainError(f"{path}: expected TOML in UTF-8, but {error}.") from error
    except ValidationError as error:
        problems = "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())
        raise DomainError(f"{path}: {problems}.") from error
    unfit = "score" if kind == "refused" else "reason"
    if getattr(settings, unfit) is not None:
        raise DomainError(f"{path}: expected no {unfit}, since what lies in {kind}/ has none.")
    if settings.instance is not None and settings.instance not in domain.spec.instances:
        raise DomainError(
            f"{path}: expected instance to be one of {list(domain.spec.instances)}, but got {settings.instance!r}."
        )
    return settings
