"""The Linux system calls that Python has no functions for, through ctypes."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_RDONLY = 2, 4, 8, 1
MS_BIND, MS_REC, MS_PRIVATE, MS_REMOUNT = 4096, 16384, 1 << 18, 32
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
AT_RECURSIVE, AT_EMPTY_PATH, AT_FDCWD = 0x8000, 0x1000, -100

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
PR_SET_CHILD_SUBREAPER = 36
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LAST_CAPABILITY = 63

# Numbers of calls that the C library has no name for; (x86_64, aarch64).
_CAPSET = (126, 91)
_PIVOT_ROOT = (155, 41)
_MOUNT_SETATTR = (442, 442)
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = (444, 444), (445, 445), (446, 446)
_LANDLOCK_VERSION = 1
_LANDLOCK_RULE_PATH_BENEATH = 1


def _library() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _call(numbers: tuple[int, int], what: str, *arguments: Any) -> int:
    number = numbers[0 if platform.machine() == "x86_64" else 1]
    widened = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    return _checked(_library().syscall(ctypes.c_long(number), *widened), what)


def unshare(flags: int) -> None:
    """Leave the given namespaces for new ones."""
    _checked(_library().unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    words = [word.encode() if word is not None else None for word in (source, target, kind)]
    result = _library().mount(*words, ctypes.c_ulong(flags), options.encode() or None)
    _checked(result, f"mount {source} on {target}")


def restrict(target: str, *, read_only: bool, recursive: bool = True) -> None:
    """No set-uid programs and no devices in what is mounted there, and no writing if so wanted."""
    attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (MOUNT_ATTR_RDONLY if read_only else 0)
    # struct mount_attr: attr_set, attr_clr, propagation, userns_fd
    change = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    _call(_MOUNT_SETATTR, f"mount_setattr {target}", AT_FDCWD, target.encode(), flags, change, len(change))


def unmount(target: str) -> None:
    """Detach what is mounted there."""
    _checked(_library().umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root and put the old one on `old`."""
    _call(_PIVOT_ROOT, f"pivot_root {new}", new.encode(), old.encode())


def prctl(option: int, argument: int = 0) -> None:
    """prctl(2) with one number."""
    zero = ctypes.c_ulong(0)
    _checked(_library().prctl(option, ctypes.c_ulong(argument), zero, zero, zero), f"prctl {option}")


def die_with(parent: int) -> None:
    """Be killed when the parent ends, also where it has ended already. Forgotten when the user id changes."""
    prctl(PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(125)


def drop_capabilities() -> None:
    """All of them, for good."""
    for capability in range(LAST_CAPABILITY + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:  # this kernel has fewer, or they are gone already
            break
    header = struct.pack("=Ii", 0x20080522, 0)
    _call(_CAPSET, "capset", header, bytes(24))


def install_filter(program: bytes) -> None:
    """Let a seccomp filter judge every system call from here on, of this process and all that descend from it."""
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: number of instructions (8 bytes each), pointer to them
    descriptor = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(descriptor, len(descriptor))
    zero = ctypes.c_ulong(0)
    result = _library().prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), holder, zero, zero)
    _checked(result, "seccomp")


def landlock_version() -> int:
    """Version of the Landlock interface; 0 where the kernel has none."""
    try:
        return _call(_LANDLOCK_CREATE_RULESET, "landlock", None, 0, _LANDLOCK_VERSION)
    except OSError:
        return 0


def landlock_ruleset(files: int, network: int, scope: int) -> int:
    """A descriptor of a new ruleset that handles the given rights."""
    attributes = struct.pack("=QQQ", files, network, scope)
    return _call(_LANDLOCK_CREATE_RULESET, "landlock_create_ruleset", attributes, len(attributes), 0)


def landlock_allow(ruleset: int, path: int, rights: int) -> None:
    """Allow rights on and beneath what an O_PATH descriptor stands for."""
    rule = struct.pack("=Qi", rights, path)
    _call(_LANDLOCK_ADD_RULE, "landlock_add_rule", ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, 0)


def landlock_restrict(ruleset: int) -> None:
    """Live by a ruleset from here on."""
    _call(_LANDLOCK_RESTRICT_SELF, "landlock_restrict_self", ruleset, 0)
