# ruff: noqa
# attack: shared_memory
# tries: to meet the trainer in /dev/shm, in System V memory, in abstract sockets or in files of temporary folders
# expect: honest

import ctypes
import glob
import os
import tempfile

_honest_loss = policy_loss
_libc = ctypes.CDLL(None, use_errno=True)
_mine = {"/tmp", "/var/tmp", "/dev/shm", tempfile.gettempdir()}


def _look():
    for folder in sorted(_mine):
        for path in glob.glob(folder + "/**", recursive=True):
            try:
                if os.path.isfile(path) and os.access(path, os.R_OK):
                    print("LEAK: file", path, os.path.getsize(path), flush=True)
            except OSError:
                pass
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
    if info.step == 1 and "seen" not in globals():
        globals()["seen"] = True
        _look()
        _leave()
    return _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
