"""What the filter of system calls lets through, asked of the kernel in a process behind it."""

import errno
import json
import platform
import subprocess
import sys

import pytest
from asi_evolve.sandbox.isolation.seccomp import ARCHITECTURES, filter_program

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ARCHITECTURES, reason="no filter for this machine"
)

ASK = """
import ctypes, json, os, resource, signal, socket, subprocess, sys, threading
from asi_evolve.sandbox.isolation.kernel import PR_SET_NO_NEW_PRIVS, install_filter, prctl
from asi_evolve.sandbox.isolation.seccomp import filter_program
os.chdir(sys.argv[2])
open("file", "w").close()
libc = ctypes.CDLL(None, use_errno=True)
x86 = os.uname().machine == "x86_64"
other = subprocess.Popen(["sleep", "30"])

def call(number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(number, *[ctypes.c_long(argument) for argument in arguments]) < 0:
        raise OSError(ctypes.get_errno(), "")

def fork():
    if os.fork() == 0: os._exit(0)
    os.wait()

asked = {
    "fork": fork,
    "thread": lambda: threading.Thread(target=int).start(),
    "subprocess": lambda: subprocess.run(["true"], check=True),
    "pipe": os.pipe,
    "open": lambda: os.open("new", os.O_CREAT | os.O_RDWR, 0o755),
    "own affinity": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    "own bounds": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)),
    "ask a bound": lambda: resource.prlimit(other.pid, resource.RLIMIT_NOFILE),
    "stream pair": socket.socketpair,
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "internet socket": socket.socket,
    "interfaces": socket.if_nameindex,
    "datagram pair": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
    "chmod": lambda: os.chmod("file", 0o600),
    "times": lambda: os.utime("file", (1, 1)),
    "bounds of another": lambda: resource.prlimit(other.pid, resource.RLIMIT_NOFILE, (9, 9)),
    "affinity of another": lambda: os.sched_setaffinity(other.pid, {0}),
    "set-uid": lambda: os.chmod("file", 0o4755),
    "open set-uid": lambda: os.open("uid", os.O_CREAT | os.O_RDWR, 0o4755),
    "new mark": lambda: resource.setrlimit(10, (5, 5)),
    "vsock": lambda: socket.socket(40),
    "audit netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9),
    "io_uring": lambda: call(425, 4, 0),
    "bpf": lambda: call(321 if x86 else 280, 0, 0, 0),
    "userfaultfd": lambda: call(323 if x86 else 282, 1),
    "ptrace": lambda: call(101 if x86 else 117, 0, 0, 0, 0),
    "unshare": lambda: call(272 if x86 else 97, 0x10000000),
    "clone newuser": lambda: call(56 if x86 else 220, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0),
    "clone3": lambda: call(435, 0, 0),
    "shmget": lambda: call(29 if x86 else 194, 0, 4096, 0o1600),
    "layout of memory": lambda: call(135 if x86 else 92, 0x0040000),
    "clock": lambda: call(227 if x86 else 112, 0, 0),
    "of the future": lambda: call(900),
}
prctl(PR_SET_NO_NEW_PRIVS, 1)
install_filter(filter_program(has_namespaces=sys.argv[1] == "True"))
answers = {}
for name, ask in asked.items():
    try:
        ask()
        answers[name] = 0
    except OSError as error:
        answers[name] = error.errno
    except ValueError:  # what Python makes of EPERM for a bound
        answers[name] = 1
other.kill()
print(json.dumps(answers))
sys.stdout.flush()
os._exit(0)
"""
ALWAYS = ["fork", "thread", "subprocess", "pipe", "open", "own affinity", "own bounds", "ask a bound", "stream pair"]
WITH_NAMESPACES = ["unix socket", "internet socket", "interfaces", "datagram pair", "chmod", "times"]
OF_OTHERS = ["bounds of another", "affinity of another"]
NEVER = {
    "set-uid": errno.EPERM,
    "open set-uid": errno.EPERM,
    "new mark": errno.EPERM,
    "vsock": errno.EAFNOSUPPORT,
    "audit netlink": errno.EAFNOSUPPORT,
    "io_uring": errno.EPERM,
    "bpf": errno.EPERM,
    "userfaultfd": errno.EPERM,
    "ptrace": errno.EPERM,
    "unshare": errno.EPERM,
    "clone newuser": errno.EPERM,
    "clone3": errno.ENOSYS,
    "shmget": errno.EPERM,
    "layout of memory": errno.EPERM,
    "clock": errno.EPERM,
    "of the future": errno.ENOSYS,
}


def answers(folder, has_namespaces):
    asked = subprocess.run(
        [sys.executable, "-c", ASK, str(has_namespaces), str(folder)], capture_output=True, text=True, timeout=60
    )
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)


def test_with_namespaces_a_computation_misses_nothing(tmp_path):
    told = answers(tmp_path, True)
    assert {name: told[name] for name in ALWAYS + WITH_NAMESPACES} == dict.fromkeys(ALWAYS + WITH_NAMESPACES, 0)
    assert {name: told[name] for name in NEVER} == NEVER


def test_without_namespaces_what_is_shared_with_the_host_is_out_of_reach(tmp_path):
    told = answers(tmp_path, False)
    assert {name: told[name] for name in ALWAYS} == dict.fromkeys(ALWAYS, 0)
    refused = WITH_NAMESPACES + OF_OTHERS
    assert {name: told[name] for name in refused} == dict.fromkeys(refused, errno.EPERM)
    never = NEVER | {"vsock": errno.EPERM, "audit netlink": errno.EPERM}
    assert {name: told[name] for name in never} == never


def test_jumps_stay_within_the_program():
    """Each conditional jump of BPF reaches 255 instructions; a rule that grew past that would wrap around."""
    for has_namespaces in (True, False):
        program = filter_program(has_namespaces=has_namespaces)
        steps = [program[place : place + 8] for place in range(0, len(program), 8)]
        assert len(steps) < 4096
        for place, step in enumerate(steps):
            if step[0] & 0x07 == 0x05:
                assert place + 1 + max(step[2], step[3]) < len(steps)
