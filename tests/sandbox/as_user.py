"""Runs a command as an ordinary user, for a test that is root: with what the command needs in reach of that user.

python as_user.py UID '["/path/in/reach", ...]' COMMAND...
"""

import json
import os
import sys

from asi_evolve.sandbox.isolation.kernel import CLONE_NEWNS, MS_PRIVATE, MS_REC, mount, unshare
from asi_evolve.sandbox.isolation.privileges import reveal

uid = int(sys.argv[1])
unshare(CLONE_NEWNS)
mount("none", "/", flags=MS_REC | MS_PRIVATE)
reveal(json.loads(sys.argv[2]))
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
os.execv(sys.argv[3], sys.argv[3:])
