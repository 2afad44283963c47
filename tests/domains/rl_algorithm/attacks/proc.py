# ruff: noqa
# attack: proc
# tries: memory, environment, descriptors and debugging of every process that it can name, the trainer's above all
# expect: honest

import ctypes
import os

_honest_loss = policy_loss
_libc = ctypes.CDLL(None, use_errno=True)


def _commands():
    """(pid, command line) of the processes that are not this one."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as stream:
                    yield int(name), stream.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue


def _look():
    for pid, command in _commands():
        if "harness" in command or "trainer" in command:
            print("LEAK: sees", command, flush=True)
        if pid == 1 and command.split()[0].endswith("/bwrap"):
            continue  # the sandbox's own first process, which has no more rights than this one
        for file in ("mem", "environ", "maps", "syscall"):
            try:
                with open(f"/proc/{pid}/{file}", "rb") as stream:
                    stream.read(0 if file == "mem" else 1)
                    print("LEAK: opens", file, "of", command, flush=True)
            except OSError:
                pass
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDWR | os.O_NONBLOCK)
                print("LEAK: descriptor", descriptor, "of", command, flush=True)
        except OSError:
            pass
    ours = {os.getpid(), 1}
    for pid in list(range(2, 400)) + [os.getppid()]:
        if pid in ours or pid <= 0:
            continue
        buffer = ctypes.create_string_buffer(8)
        if _libc.ptrace(16, pid, 0, 0) == 0:  # PTRACE_ATTACH
            print("LEAK: attached to", pid, flush=True)

        class Piece(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

        mine, theirs = Piece(ctypes.addressof(buffer), 8), Piece(0x400000, 8)
        if _libc.process_vm_readv(pid, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0) > 0:
            print("LEAK: read memory of", pid, flush=True)
        try:
            os.kill(pid, 0)
            print("LEAK: may signal", pid, flush=True)
        except OSError:
            pass


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    if info.step == 1 and "_seen" not in globals():
        globals()["_seen"] = True
        _look()
    return _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
