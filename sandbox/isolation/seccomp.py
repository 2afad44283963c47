"""The filter of system calls that every tier on Linux puts on a candidate: BPF, put together here.

A list of what is refused; what is newer than the list is refused too. Most of what is refused is the kernel's attack
surface, which a computation does not need. The rest keeps a candidate from leaving something behind (set-uid files,
System V memory) or from reaching what its namespaces do not hold (sockets of other families).
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* by what `platform.machine()` says."""

NEWEST_KNOWN = 470
"""Calls with a higher number came after Linux 6.18 and are answered with ENOSYS, as an older kernel would."""
X32_BIT = 0x40000000

# struct seccomp_data: number, architecture, instruction pointer, six arguments of 64 bits
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_LOAD, _AND = 0x20, 0x54
_IF_EQUAL, _IF_GREATER, _IF_ANY_BIT = 0x15, 0x25, 0x45
_RETURN = 0x06
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000

# Name: numbers on (x86_64, aarch64); None where the architecture has no such call.
_SURFACE: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "unshare": (272, 97),
    "setns": (308, 268),
    # parts of the kernel with a history
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "memfd_secret": (447, 447),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    # the machine
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    # memory and messages that would outlive their maker, and that no watcher sees
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}

_WITHOUT_NAMESPACES: dict[str, tuple[int | None, int | None]] = {
    # sockets of the host, through their names
    "connect": (42, 203),
    "bind": (49, 200),
    # files of the same owner: Landlock guards their contents, not what is known about them
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "inotify_add_watch": (254, 27),
    "semget": (64, 190),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "ioprio_set": (251, 30),
}
"""Refused as well where candidate and host share processes, network and IPC."""


@dataclass(frozen=True)
class _Test:
    """A question about one argument; all questions of a rule must be answered yes for its verdict."""

    argument: int
    operation: int
    operand: int
    wanted: bool = True
    mask: int = 0xFFFFFFFF
    high: bool = False
    """About the upper half of the 64 bits."""

    def steps(self, past: int) -> list[bytes]:
        """Instructions that jump over the next `past` ones unless the answer is yes."""
        code = [_step(_LOAD, _ARGUMENTS + 8 * self.argument + (4 if self.high else 0))]
        if self.mask != 0xFFFFFFFF:
            code.append(_step(_AND, self.mask))
        return [
            *code,
            _step(self.operation, self.operand, yes=0 if self.wanted else past, no=past if self.wanted else 0),
        ]


@dataclass(frozen=True)
class _Rule:
    numbers: tuple[int | None, int | None]
    tests: tuple[_Test, ...]
    verdict: int


def filter_program(*, has_namespaces: bool) -> bytes | None:
    """The filter as BPF instructions of 8 bytes for this machine; `None` for an architecture that it is not made for.

    Args:
        has_namespaces: whether the candidate has its own processes, network, IPC and mounts. Else more is refused.
    """
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        return None
    column = 0 if machine == "x86_64" else 1
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_IF_EQUAL, ARCHITECTURES[machine], yes=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    for rule in _rules(has_namespaces):
        number = rule.numbers[column]
        if number is not None:
            code += _compiled(number, rule)
    code += [_step(_IF_GREATER, NEWEST_KNOWN, no=1), _step(_RETURN, _ERROR | errno.ENOSYS), _step(_RETURN, _ALLOW)]
    return b"".join(code)


def _compiled(number: int, rule: _Rule) -> list[bytes]:
    """The number must be in the accumulator, and is there again afterwards."""
    body = [_step(_RETURN, rule.verdict)]
    for test in reversed(rule.tests):
        body = [*test.steps(len(body)), *body]
    if rule.tests:
        body.append(_step(_LOAD, _NUMBER))
    return [_step(_IF_EQUAL, number, no=len(body)), *body]


def _step(code: int, operand: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction: struct sock_filter."""
    return struct.pack("=HBBI", code, yes, no, operand)


def _rules(has_namespaces: bool) -> Iterable[_Rule]:
    refused = _ERROR | errno.EPERM
    # Programs fall back to older calls whose arguments can be looked at.
    yield _Rule((435, 435), (), _ERROR | errno.ENOSYS)  # clone3
    yield _Rule((437, 437), (), _ERROR | errno.ENOSYS)  # openat2
    for numbers in _SURFACE.values():
        yield _Rule(numbers, (), refused)
    yield from _no_new_namespaces(refused)
    yield from _no_set_uid_files(refused)
    yield from _few_socket_families(has_namespaces)
    yield from _no_new_mark(refused)
    # Only the question what it is, and the ordinary one: others weaken the randomised layout of memory.
    yield _Rule((135, 92), (_is_not(0, 0), _is_not(0, 0xFFFFFFFF)), refused)  # personality
    for command in (0x5412, 0x541C):  # TIOCSTI, TIOCLINUX: typing into a terminal
        yield _Rule((16, 29), (_is(1, command),), refused)  # ioctl
    if not has_namespaces:
        for numbers in _WITHOUT_NAMESPACES.values():
            yield _Rule(numbers, (), refused)
        yield from _hands_off_other_processes(refused)


def _no_new_namespaces(verdict: int) -> Iterable[_Rule]:
    spaces = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
    yield _Rule((56, 220), (_Test(0, _IF_ANY_BIT, spaces),), verdict)  # clone


def _no_set_uid_files(verdict: int) -> Iterable[_Rule]:
    bits = 0o6000
    creates = 0o100 | 0x400000  # O_CREAT, __O_TMPFILE; without them the mode is whatever lay in the register
    for numbers, argument in (
        ((90, None), 1),  # chmod
        ((91, 52), 1),  # fchmod
        ((268, 53), 2),  # fchmodat
        ((452, 452), 2),  # fchmodat2
        ((85, None), 1),  # creat
        ((133, None), 1),  # mknod
        ((259, 33), 2),  # mknodat
    ):
        yield _Rule(numbers, (_Test(argument, _IF_ANY_BIT, bits),), verdict)
    for numbers, flags, mode in (((2, None), 1, 2), ((257, 56), 2, 3)):  # open, openat
        yield _Rule(numbers, (_Test(flags, _IF_ANY_BIT, creates), _Test(mode, _IF_ANY_BIT, bits)), verdict)


def _no_new_mark(verdict: int) -> Iterable[_Rule]:
    locks = 10  # RLIMIT_LOCKS, which is the mark; see marks.py
    yield _Rule((160, 164), (_is(0, locks),), verdict)  # setrlimit
    for high in (False, True):  # prlimit64: asking is free
        yield _Rule((302, 261), (_is(1, locks), _is_not(2, 0, high=high)), verdict)


def _few_socket_families(has_namespaces: bool) -> Iterable[_Rule]:
    unix, inet, inet6, netlink = 1, 2, 10, 16
    verdict = _ERROR | errno.EAFNOSUPPORT
    socket, socketpair = (41, 198), (53, 199)
    if not has_namespaces:
        # A datagram socket, also one of a pair, can send to any name; a connected stream cannot.
        yield _Rule(socket, (), _ERROR | errno.EPERM)
        for kind in (2, 3, 5):  # SOCK_DGRAM, SOCK_RAW (which AF_UNIX takes for it), SOCK_SEQPACKET
            yield _Rule(socketpair, (_Test(1, _IF_EQUAL, kind, mask=0xF),), _ERROR | errno.EPERM)
        return
    families = tuple(_is_not(0, family) for family in (unix, inet, inet6, netlink))
    yield _Rule(socket, families, verdict)
    yield _Rule(socket, (_is(0, netlink), _is_not(2, 0)), verdict)  # only NETLINK_ROUTE: the list of interfaces
    yield _Rule(socketpair, (_is_not(0, unix),), verdict)


def _hands_off_other_processes(verdict: int) -> Iterable[_Rule]:
    for numbers, argument in (
        ((141, 140), 1),  # setpriority
        ((203, 122), 0),  # sched_setaffinity
        ((144, 119), 0),  # sched_setscheduler
        ((142, 118), 0),  # sched_setparam
        ((314, 274), 0),  # sched_setattr
    ):
        yield _Rule(numbers, (_is_not(argument, 0),), verdict)
    limits = (302, 261)  # prlimit64: asking is free
    yield _Rule(limits, (_is_not(0, 0), _is_not(2, 0)), verdict)
    yield _Rule(limits, (_is_not(0, 0), _is_not(2, 0, high=True)), verdict)


def _is(argument: int, value: int) -> _Test:
    return _Test(argument, _IF_EQUAL, value)


def _is_not(argument: int, value: int, *, high: bool = False) -> _Test:
    return _Test(argument, _IF_EQUAL, value, wanted=False, high=high)
