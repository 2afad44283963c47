"""What a sandbox costs: `python -c pass` alone, in each tier, and as a whole job, in turns on the same machine.

    python benchmarks/sandbox.py [--runs 20]

"in tier" is the whole stack around a program: namespaces, mounts, filter of system calls, bounds, watcher, and waiting
until nothing is left. "job" is a supervisor with it, from its start to exit.json; "job, judged" has an evaluator too.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from asi_evolve.sandbox.confinement import Program, run_confined
from asi_evolve.sandbox.interpreter import describe_interpreter
from asi_evolve.sandbox.isolation import TIERS, Mount, Request, from_fields, marks
from asi_evolve.sandbox.isolation.choice import try_tiers
from asi_evolve.sandbox.isolation.kernel import PR_SET_CHILD_SUBREAPER, prctl
from asi_evolve.sandbox.jobs import JobFolder, JobSpec, Limits, OutputRule
from asi_evolve.sandbox.nursery import Nursery

LIMITS = Limits(cpu_seconds=20, wall_seconds=60, memory_mb=1000, disk_mb=10, output_mb=1, pids=32)
JUDGE = "import sys; open(sys.argv[1] + '/result/metrics.json', 'w').write('{\"metrics\": {}}')"


class Bench:
    """Folders to run in, made anew for each run and not counted."""

    def __init__(self, root, interpreter):
        self.root, self.interpreter, self.count, self.nursery = root, interpreter, 0, Nursery()

    def plain(self):
        """One start of the interpreter, with the flags and the environment of a candidate."""
        environment = {"PATH": "/usr/bin:/bin", "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}
        return lambda: subprocess.run([sys.executable, "-s", "-B", "-c", "pass"], env=environment, check=True)

    def in_tier(self, fields):
        """The same beneath a tier."""
        folder = self._folder()
        (folder / "workplace").mkdir()
        mounts = (Mount(str(folder / "harness"), "/job/harness"), Mount(str(folder / "out"), "/job/out", True))
        mark = marks.first_mark(str(folder))
        script = "/job/harness/harness.py"
        request = Request(self.interpreter, script, mounts, 1_000_000, 1, (), str(folder / "workplace"), mark)
        program = Program(request, LIMITS, folder / "stdout", folder / "stderr", folder / "out")
        isolation = from_fields(fields)

        def run():
            assert run_confined(isolation, program, lambda: False).status == 0, program.stderr.read_text()

        return run

    def job(self, fields, *, judged):
        """A supervisor and all that it does; without an evaluator it ends when the output turns out to be missing."""
        folder = JobFolder(self._folder())
        for part in (folder.candidate, folder.evaluator, folder.outputs, folder.result):
            part.mkdir()
        (folder.evaluator / "evaluator.py").write_text(JUDGE)
        folder.params.write_text("{}")
        spec = JobSpec(
            token="t",
            isolation=fields,
            interpreter=self.interpreter,
            harness="harness.py",
            evaluator="evaluator.py",
            public_data=None,
            hidden_data=None,
            limits=LIMITS,
            evaluator_limits=LIMITS,
            outputs=() if judged else (OutputRule("answer", 10, True, None),),
            artifacts=(),
            gpus=(),
            groups=None,
            threads=1,
            evaluator_sha256="",
        )
        folder.spec.write_text(spec.to_json())

        def run():
            self.nursery.start(folder)
            while folder.liveness() == "running":
                time.sleep(0.0005)
            outcome = folder.read_exit().outcome
            assert outcome == ("scored" if judged else "invalid_output"), folder.read_exit()

        return run

    def _folder(self):
        self.count += 1
        folder = self.root / str(self.count)
        (folder / "harness").mkdir(parents=True)
        (folder / "out").mkdir()
        (folder / "harness" / "harness.py").write_text("pass\n")
        return folder


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    interpreter = describe_interpreter(sys.executable, ())
    working = [attempt for attempt in try_tiers(interpreter, TIERS, all_of_them=True) if attempt.failure is None]
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root), interpreter)
        kinds = {"plain": bench.plain}
        for attempt in working:
            kinds[f"in {attempt.tier}"] = lambda fields=attempt.fields: bench.in_tier(fields)
        best = working[0]
        kinds[f"job, {best.tier}"] = lambda: bench.job(best.fields, judged=False)
        kinds[f"job, judged, {best.tier}"] = lambda: bench.job(best.fields, judged=True)
        walls = {name: [] for name in kinds}
        for _ in range(runs):
            for name, prepare in kinds.items():
                run = prepare()
                begin = time.monotonic()
                run()
                walls[name].append(time.monotonic() - begin)
    plain = statistics.median(walls["plain"])
    print(f"median of {runs} runs in turns; load {os.getloadavg()[0]:.1f}")
    print(f"{'':24}{'wall ms':>10}{'least ms':>10}{'of plain':>10}")
    for name, values in walls.items():
        median = statistics.median(values)
        print(f"{name:24}{1000 * median:10.1f}{1000 * min(values):10.1f}{median / plain:10.2f}")


if __name__ == "__main__":
    main()
