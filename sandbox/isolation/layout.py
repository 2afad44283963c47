"""What a candidate's file system is made of, for the tiers that can give it one of its own.

An allow-list. `/` read-only would show every secret, and sockets can be spoken to through a read-only mount.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import Request

SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
LOADER_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime")
GPU_NODES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")

OWN_PACKAGE = Path(__file__).parents[2]
"""The folder of `asi_evolve`: evaluators and reference values lie in it, so a candidate must not see it."""


@dataclass(frozen=True)
class Bind:
    """A file or folder of the host."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str
    to: str


@dataclass(frozen=True)
class Memory:
    """An empty folder that can be written to, up to a size in bytes; `None` for one that will be closed."""

    target: str
    size: int | None


@dataclass(frozen=True)
class Device:
    """A device node of the host."""

    path: str


@dataclass(frozen=True)
class Closed:
    """A folder made above that is not to be written to from here on."""

    target: str


Piece = Bind | Link | Memory | Device | Closed


def system() -> Iterator[Piece]:
    """Programs and libraries of the distribution."""
    for folder in map(Path, SYSTEM_FOLDERS):
        if folder.is_symlink():
            yield Link(str(folder), str(folder.readlink()))
        elif folder.is_dir():
            yield Bind(str(folder), str(folder))
    yield from (Bind(os.path.realpath(file), file) for file in LOADER_FILES if Path(file).exists())


def gpus(request: Request) -> Iterator[Piece]:
    """Nodes of the devices that were granted, and what a driver asks /sys about."""
    if not request.gpus:
        return
    for name in (*GPU_NODES, *(f"nvidia{gpu}" for gpu in request.gpus)):
        if Path(f"/dev/{name}").exists():
            yield Device(f"/dev/{name}")
    yield Bind("/sys", "/sys")


def interpreter(request: Request) -> Iterator[Piece]:
    """Its folders, the outer ones first, and empty ones over what must not be seen, by every name that it has there."""
    hidden = hidden_paths(request)
    covers: list[Piece] = []
    for path in sorted({*request.interpreter.roots, *hidden}, key=lambda path: Path(path).parts):
        if path not in hidden:
            yield Bind(path, path)
        elif Path(path).is_dir():
            yield Memory(path, None)
            covers.append(Closed(path))
        else:
            yield Bind("/dev/null", path)
    yield from covers  # at the end: a virtual environment may lie in a covered folder


def hidden_paths(request: Request) -> set[str]:
    """What lies beneath a folder that is shown and must not be seen."""
    roots = sorted(request.interpreter.roots)
    return {path for name in (str(OWN_PACKAGE), *request.hidden) for path in _names_beneath(name, roots)}


def _names_beneath(path: str, roots: Sequence[str]) -> set[str]:
    """A path as it is reached through each root, which may be a link or lie behind one."""
    real = Path(path).resolve()
    folders = (folder for folder in SYSTEM_FOLDERS if not Path(folder).is_symlink())
    return {
        str(Path(root) / real.relative_to(Path(root).resolve()))
        for root in (*roots, *folders)
        if real.is_relative_to(Path(root).resolve())
    }


def own(request: Request) -> Iterator[Piece]:
    """What the job gives, and then the root itself closed: it is memory without a bound."""
    yield from (Bind(mount.source, mount.target, mount.writable) for mount in request.mounts)
    yield Closed("/dev")
    yield Closed("/")
