"""Finds domain folders (built in, installed by entry point, or given by path) and reads them with errors that teach."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ..evolution.errors import DomainError, NotFound
from .cognition_file import SeedCognition, read_items
from .contract import DomainSpec, Role

ENTRY_POINT_GROUP = "asi_evolve.domains"
MAX_TEXT_BYTES = 200_000
ROLES: tuple[Role, ...] = ("harness", "predict", "stub", "generator", "evaluator")
DataPart = Literal["public", "train", "inputs", "hidden"]
PARTS: tuple[DataPart, ...] = ("public", "train", "inputs", "hidden")


@dataclass(frozen=True)
class Domain:
    """A domain folder, read and checked."""

    folder: Path
    spec: DomainSpec
    brief: str
    baseline: dict[str, str]
    """Path to text, the program that the search starts from."""

    @property
    def name(self) -> str:
        """Its own name, unique among built-in and installed domains."""
        return self.spec.domain.name

    def cognition(self) -> tuple[SeedCognition, ...]:
        """The prior knowledge that a campaign on this domain begins with.

        Raises:
            DomainError: `cognition.yaml` breaks the contract.
        """
        path = self.folder / "cognition.yaml"
        return read_items(path, MAX_TEXT_BYTES) if path.exists() else ()

    def data_folder(self, part: DataPart) -> Path | None:
        """`data/public`, `data/train` and so on, where the domain has it."""
        folder = self.folder / "data" / part
        return folder if folder.is_dir() else None

    def parameters(self, instance: str | None) -> tuple[str | None, dict[str, int | float | str | bool]]:
        """Name and parameters of an instance; the domain's first where `instance` is `None`.

        Raises:
            NotFound: the domain has no such instance.
        """
        instances = self.spec.instances
        if instance is None:
            return next(iter(instances.items()), (None, {}))
        if instance not in instances:
            choice = f"one of {', '.join(instances)}" if instances else "none (the domain has no instances)"
            raise NotFound(f"Expected instance of domain {self.name} to be {choice}, but got {instance!r}.")
        return instance, instances[instance]

    def script_files(self, role: Role) -> dict[str, Path]:
        """Name in the sandbox to path on disk: the program in a role and its neighbours, folders with all they hold."""
        return {
            path.relative_to(self.folder).as_posix(): path
            for name in self.spec.scripts.files(role)
            for path in _files_of(self.folder / name)
        }

    def evaluator_sha256(self) -> str:
        """Hash over all that decides a score besides the candidate and its run: evaluator, generator, their neighbours
        and `domain.toml`."""
        judged_by = self.script_files("evaluator") | self.script_files("generator")
        return _sha256(judged_by | {"domain.toml": self.folder / "domain.toml"})

    def harness_sha256(self) -> str:
        """Hash over the harness, predict and stub, where the domain has them, and their neighbours."""
        return _sha256(self.script_files("harness") | self.script_files("predict") | self.script_files("stub"))


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def _sha256(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        data = path.read_bytes()
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def domain_names() -> list[str]:
    """The domains that come with this package, and those that other packages announce. A listed one may be broken."""
    return list(dict.fromkeys([*_built_in(), *_announced()]))


def _built_in() -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sorted(Path(__file__).parent.glob("*/domain.toml"))}


def _announced() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _announced_folder(point: EntryPoint) -> Path:
    """An entry point names a function without arguments that returns the folder, or a package whose folder it is."""
    try:
        target: Any = point.load()
        return Path(str(target() if callable(target) else next(iter(target.__path__))))
    except Exception as error:  # a plug-in can raise anything
        raise DomainError(f"Entry point {ENTRY_POINT_GROUP}:{point.name} ({point.value}) failed: {error!r}.") from error


def find_domain(name_or_path: str) -> Domain:
    """Load a domain by its name, or by the absolute path of its folder.

    Raises:
        NotFound: no such domain.
        DomainError: the folder breaks the contract.
    """
    if "/" in name_or_path or name_or_path.startswith(("~", ".")):
        folder = Path(os.path.expanduser(name_or_path))  # noqa: PTH111 -- leaves an unknown ~user as it is
        if not folder.is_absolute() or "\0" in name_or_path:
            raise NotFound(f"Expected a domain name or the absolute path of a folder, but got {name_or_path!r}.")
        return load_domain(folder)
    if (announced := _announced().get(name_or_path)) is not None:
        return load_domain(_announced_folder(announced))
    if (folder := _built_in().get(name_or_path)) is not None:
        return load_domain(folder)
    raise NotFound(
        f"Expected a domain out of {', '.join(domain_names())} or the absolute path of a domain folder, "
        f"but got {name_or_path!r}."
    )


def load_domain(folder: Path) -> Domain:
    """Read and check a whole domain folder.

    Raises:
        NotFound: the folder does not exist.
        DomainError: a file is missing or breaks the contract; the message names file and key.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise NotFound(f"Expected a domain folder, but {folder} does not exist or is not a folder.")
    spec = _read_spec(folder / "domain.toml")
    brief = _read_text(folder / "brief.md", "what the Researcher reads")
    baseline = _read_baseline(folder, spec)
    domain = Domain(folder=folder, spec=spec, brief=brief, baseline=baseline)
    for role in ROLES:
        program, *neighbours = spec.scripts.files(role) or ("",)
        missing = [name for name in neighbours if not (folder / name).exists()]
        if program and not (folder / program).is_file():
            missing.insert(0, program)
        if missing:
            raise DomainError(
                f"{folder / 'domain.toml'}: scripts.{role}: expected the file {missing[0]} beside it, but there is "
                "none."
            )
    return domain


def _read_spec(path: Path) -> DomainSpec:
    if not path.is_file():
        raise DomainError(f"{path}: expected this file, which makes a folder a domain, but there is none.")
    try:
        return DomainSpec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DomainError(f"{path}: expected TOML in UTF-8, but {error}.") from error
    except ValidationError as error:
        raise DomainError(_explain(path, error)) from error


def _explain(path: Path, error: ValidationError) -> str:
    lines = [
        f"{path}: {'.'.join(str(part) for part in problem['loc']) or 'the file'}: "
        + problem["msg"].removeprefix("Value error, ")
        for problem in error.errors()
    ]
    return "\n".join(lines)


def _read_text(path: Path, purpose: str) -> str:
    if not path.is_file():
        raise DomainError(f"{path}: expected this file ({purpose}), but there is none.")
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise DomainError(f"{path}: expected at most {MAX_TEXT_BYTES} bytes, but it has {path.stat().st_size}.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DomainError(f"{path}: expected UTF-8 text, but {error}.") from error


def _read_baseline(folder: Path, spec: DomainSpec) -> dict[str, str]:
    root = folder / "baseline"
    files = {
        path.relative_to(root).as_posix(): _read_text(path, "a file of the baseline")
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    if spec.candidate.entry not in files:
        raise DomainError(
            f"{folder / 'domain.toml'}: candidate.entry: expected baseline/{spec.candidate.entry}, but baseline/ "
            f"holds {sorted(files) or 'nothing'}."
        )
    return files
