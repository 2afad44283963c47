"""Tier `seatbelt`: macOS, which confines a program by a profile that `sandbox-exec` reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...evolution.errors import SandboxUnavailable
from . import Request, Streams, Tier, layout, make_view
from .spawn import collect, execute, fork, say

SANDBOX_EXEC = "/usr/bin/sandbox-exec"
READABLE = (
    "/usr",
    "/bin",
    "/sbin",
    "/System",
    "/Library/Frameworks",
    "/Library/Apple",
    "/opt/homebrew",
    "/private/etc/localtime",
    "/private/var/db/timezone",
    "/private/var/db/dyld",
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


@dataclass(frozen=True)
class Seatbelt:
    """The sandbox of macOS."""

    name: Tier = "seatbelt"
    has_namespaces: bool = False

    def fields(self) -> dict[str, str]:
        """What another process needs to make it again."""
        return {"tier": self.name}

    def start(self, request: Request, streams: Streams) -> int:
        """Fork a monitor, and beneath it `sandbox-exec`, which becomes the program."""
        if sys.platform != "darwin" or not Path(SANDBOX_EXEC).exists():
            raise SandboxUnavailable(f"Expected macOS with {SANDBOX_EXEC}, but there is none.")
        if os.geteuid() == 0:
            raise SandboxUnavailable(
                "Expected an ordinary user, since a candidate never runs as root, and on macOS there is no way to hand "
                "it what only root can read. Run the server as yourself."
            )
        job, tmp = make_view(request)
        profile = "\n".join(profile_lines(request, job, tmp))

        def become() -> None:
            os.chdir(tmp)
            say(streams.report, "child-pid", os.getpid())
            command = [SANDBOX_EXEC, "-p", profile, *request.command(job)]
            collect(streams.report, lambda: execute(command, request.environment(job, tmp)))

        return fork(request, streams, become)


def profile_lines(request: Request, job: str, tmp: str) -> Iterator[str]:
    """An allow-list in Seatbelt's own language. A later rule wins, so what is hidden comes last."""
    yield "(version 1)"
    yield "(deny default)"
    yield "(allow process-fork) (allow process-exec) (allow signal (target same-sandbox))"
    yield '(allow sysctl-read) (allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))'
    yield "(allow file-read-metadata)"  # the way to a file; its contents stay closed
    shown = [*READABLE, *request.interpreter.roots, job, *(mount.source for mount in request.mounts)]
    yield f"(allow file-read* {_paths('subpath', shown)})"
    yield f"(allow file-read* file-write-data file-ioctl {_paths('literal', DEVICES)})"
    writable = [tmp, *(mount.source for mount in request.mounts if mount.writable)]
    yield f"(allow file-read* file-write* {_paths('subpath', writable)})"
    yield "(deny file-write-setugid)"
    if hidden := sorted(layout.hidden_paths(request)):
        yield f"(deny file-read* {_paths('subpath', hidden)})"


def _paths(kind: str, paths: list[str] | tuple[str, ...]) -> str:
    """Real paths, since Seatbelt sees a file where it lies and not by which link it was reached."""
    names = sorted({os.path.realpath(path) for path in paths})
    return " ".join(f'({kind} "{_quoted(name)}")' for name in names)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
