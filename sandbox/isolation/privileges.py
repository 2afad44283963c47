"""Ceasing to be root before anything of a candidate runs.

Whoever is no longer root cannot reach an interpreter beneath /root, or a job in a folder that only root may enter. So,
in mounts of our own, every closed folder on the way to what is needed is covered by an open one that holds just that.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from . import Request
from .kernel import (
    CLONE_NEWNS,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    PR_SET_DUMPABLE,
    mount,
    prctl,
    unshare,
)

FIRST_UID = 1_879_048_192
"""From here to 2^31 no distribution, container or directory service takes user ids from."""
NOBODY = 65534


def become_unprivileged(request: Request, also: Iterable[str] = ()) -> None:
    """Give up root, if we are: take a user id that nobody else has, and keep what the request needs in reach.

    Args:
        also: further files that must stay in reach.

    Raises:
        OSError: this root may not do what it takes (a container without CAP_SYS_ADMIN).
    """
    if os.geteuid() != 0:
        return
    uid = _free_uid()
    writable = [mount.source for mount in request.mounts if mount.writable]
    for folder in (*writable, *map(str, Path(request.workplace).glob("tmp"))):
        os.chown(folder, uid, uid)
    unshare(CLONE_NEWNS)
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    sources = [mount.source for mount in request.mounts]
    reveal([*request.interpreter.roots, *sources, request.workplace, *also])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    prctl(PR_SET_DUMPABLE, 1)  # else /proc/self still belongs to root, and no user namespace can be set up
    for source in sources:
        if not os.access(source, os.R_OK):
            raise PermissionError(
                f"Expected {source} to be readable for every user, since a candidate never runs as root. "
                f"Do: chmod -R a+rX {source}"
            )


def _free_uid() -> int:
    """One for this process alone, where the user namespace that we are in has so many."""
    wanted = FIRST_UID + os.getpid()
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        inside, _, count = map(int, line.split())
        if inside <= wanted < inside + count:
            return wanted
    return NOBODY


def reveal(paths: Iterable[str]) -> None:
    """Make paths reachable for everybody, in mounts of our own."""
    closed: dict[str, list[str]] = {}
    for path in sorted({name(needed) for needed in paths for name in (os.path.abspath, os.path.realpath)}):
        folder = _closed_folder(path)
        # Not what lies beneath another one, which comes with it.
        if folder is not None and not any(Path(path).is_relative_to(shown) for shown in closed.get(folder, [])):
            closed.setdefault(folder, []).append(path)
    for folder, shown in closed.items():
        held = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in shown}
        mount("none", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
        for path, descriptor in held.items():
            _put(path, descriptor)
            os.close(descriptor)


def _put(path: str, descriptor: int) -> None:
    """Bind what a descriptor stands for to a path that is to be made."""
    target = Path(path)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
    else:
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.touch()
    mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND | MS_REC)


def _closed_folder(path: str) -> str | None:
    """The first folder on the way to a path that not everybody may pass through, or the path itself if it is one."""
    for folder in (*reversed(Path(path).parents), Path(path)):
        try:
            state = folder.stat()
        except OSError:
            return None
        if folder != Path(path) and not state.st_mode & stat.S_IXOTH:
            return str(folder)
    return None
