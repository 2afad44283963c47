"""Runs a small program in every tier asked for, with all that a job's sandbox has, and tells which work.

python -m asi_evolve.sandbox.isolation.probe < question.json
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ...evolution.errors import SandboxUnavailable
from ..confinement import Program, run_confined
from ..interpreter import Interpreter
from ..jobs import Limits
from . import Isolation, Mount, Request, Tier, from_fields, marks
from .bwrap import binaries
from .choice import Attempt
from .kernel import PR_SET_CHILD_SUBREAPER, prctl

LIMITS = Limits(cpu_seconds=20, wall_seconds=20, memory_mb=1000, disk_mb=1, output_mb=1, pids=32)
SCRIPT = "import json, sys\nopen(sys.argv[1] + '/out/answer', 'w').write('42')\n"


def main() -> int:
    """Answer the question on stdin."""
    question = json.load(sys.stdin)
    if sys.platform == "linux":
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    interpreter = Interpreter.from_fields(question["interpreter"])
    attempts: list[Attempt] = []
    for tier in question["tiers"]:
        for fields, how in _ways(tier):
            attempts.append(Attempt(tier, how, fields, _try(from_fields(fields), interpreter)))
            if attempts[-1].failure is None:
                break
        if attempts and attempts[-1].failure is None and not question["all"]:
            break
    json.dump([asdict(attempt) for attempt in attempts], sys.stdout)
    return 0


def _ways(tier: Tier) -> Iterator[tuple[dict[str, str], str]]:
    """Ways in which a tier may work here, the best one first, and their names."""
    procs = (("fresh", "a /proc of its own"), ("empty", "an empty /proc"))
    match tier:
        case "bwrap":
            for binary in binaries() if sys.platform == "linux" else ():
                for proc, words in procs:
                    yield {"tier": tier, "binary": binary, "proc": proc}, f"{binary} with {words}"
        case "userns":
            for proc, words in procs if sys.platform == "linux" else ():
                yield {"tier": tier, "proc": proc}, f"user namespaces with {words}"
        case "landlock" if sys.platform == "linux":
            yield {"tier": tier}, "Landlock"
        case "seatbelt" if sys.platform == "darwin":
            yield {"tier": tier}, "sandbox-exec"
        case "unconfined":
            yield {"tier": tier}, "no confinement"
        case _:
            return


def _try(isolation: Isolation, interpreter: Interpreter) -> str | None:
    """What is wrong with it, or `None`."""
    with tempfile.TemporaryDirectory(prefix="asi-evolve-") as name:
        folder = Path(name)
        for part in ("harness", "out", "workplace"):
            (folder / part).mkdir(mode=0o755)
        (folder / "harness" / "probe.py").write_text(SCRIPT)
        mounts = (
            Mount(str(folder / "harness"), "/job/harness"),
            Mount(str(folder / "out"), "/job/out", writable=True),
        )
        workplace = str(folder / "workplace")
        mark = marks.first_mark(name)
        request = Request(interpreter, "/job/harness/probe.py", mounts, 1_000_000, 1, (), workplace, mark)
        program = Program(request, LIMITS, folder / "stdout", folder / "stderr", folder / "out")
        try:
            ended = run_confined(isolation, program, lambda: False)
        except (SandboxUnavailable, OSError) as error:
            return str(error)
        if ended.status == 0 and (folder / "out" / "answer").exists():
            return None
        lines = (folder / "stderr").read_text().splitlines()
        return lines[-1][:300] if lines else f"the program left with {ended.status}"


if __name__ == "__main__":
    sys.exit(main())
