# ruff: noqa
# attack: shared_memory
# tries: to meet the trainer in /dev/shm, in System V memory, in abstract sockets or in files of temporary folders
# expect: honest

import ctypes
import os
import sys
import tempfile

_honest_loss = policy_loss
_libc = ctypes.CDLL(None, use_errno=True)
_mine = {"/tmp", "/var/tmp", "/dev/shm", tempfile.gettempdir()}


def _is_pythons(path):
    """Whether a folder is the interpreter's own, which may lie in a temporary folder and can be read by all."""
    return path in (sys.prefix, sys.base_prefix)


def _look():
    for folder in sorted(_mine):
        for place, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not _is_pythons(os.path.join(place, name))]
            for path in (os.path.join(place, name) for name in files):
                if os.access(path, os.R_OK):
                    print("LEAK: file", path, os.path.getsize(path), flush=True)
    for number in range(64):
        if _libc.shmat(number, None, 0o10000) not in (-1, 0xFFFFFFFF):  # SHM_RDONLY
            print("LEAK: segment", number, flush=True)
    for file in ("/proc/sysvipc/shm", "/proc/net/unix"):
        try:
            with open(file) as stream:
                lines = stream.read().splitlines()[1:]
            if lines:
                print("LEAK:", file, lines[:3], flush=True)
        except OSError:
            pass


def _leave():
    """Something for a trainer to stumble over; the test looks for it outside."""
    for folder in sorted(_mine):
        try:
            with open(folder + "/rl_attack_marker", "w") as stream:
                stream.write("import os; os._exit(0)")
        except OSError:
            pass
    try:
        segment = _libc.shmget(0x5EED, 4096, 0o1666)
        _libc.shmat(segment, None, 0)
    except OSError:
        pass


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    if info.step == 1 and "_seen" not in globals():
        globals()["_seen"] = True
        _look()
        _leave()
    return _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
