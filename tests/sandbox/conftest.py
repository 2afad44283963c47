"""A job folder with a small harness and evaluator, and the supervisor run over it as a daemon would."""

import json
import os
import signal
import sys
import time
from dataclasses import replace

import pytest
from asi_evolve.evolution.errors import SandboxUnavailable
from asi_evolve.sandbox.engineer import start_supervisor
from asi_evolve.sandbox.interpreter import describe_interpreter
from asi_evolve.sandbox.isolation import find_isolation
from asi_evolve.sandbox.jobs import JobFolder, JobSpec, Limits, OutputRule

HARNESS = """
import sys
sys.path.insert(0, "/job/candidate")
import candidate
"""
EVALUATOR = """
import json
value = float(open("/job/outputs/value.txt").read())
json.dump({"metrics": {"value": value}}, open("/job/result/metrics.json", "w"))
"""
LIMITS = Limits(cpu_seconds=10, wall_seconds=30, memory_mb=300, disk_mb=20, output_mb=4, pids=20)
VALUE = OutputRule("value.txt", 1000, required=True, arrays=None)


@pytest.fixture(scope="session")
def interpreter():
    return describe_interpreter(sys.executable, ("numpy",))


@pytest.fixture(scope="session")
def isolation(interpreter):
    try:
        return find_isolation(interpreter)
    except SandboxUnavailable as error:
        pytest.skip(f"no sandbox on this machine: {error}")


class Bench:
    """Lays down one job and runs it."""

    def __init__(self, folder, isolation, interpreter):
        self.folder = JobFolder(folder)
        for part in ("candidate", "harness", "evaluator", "out", "outputs", "result"):
            (folder / part).mkdir(parents=True)
        self.spec = JobSpec(
            token="t",
            isolation=isolation.fields(),
            interpreter=interpreter,
            harness="harness.py",
            evaluator="evaluator.py",
            public_data=None,
            hidden_data=None,
            limits=LIMITS,
            evaluator_limits=replace(LIMITS, cpu_seconds=5),
            outputs=(VALUE,),
            artifacts=(),
            gpus=(),
            threads=1,
            evaluator_sha256="0" * 64,
        )

    def change(self, **fields):
        self.spec = replace(self.spec, **fields)
        return self

    def limit(self, **bounds):
        return self.change(limits=replace(self.spec.limits, **bounds))

    def start(self, candidate, evaluator=EVALUATOR):
        self.folder.params.write_text(json.dumps({"seed": 0}))
        (self.folder.candidate / "candidate.py").write_text(candidate)
        (self.folder.harness / "harness.py").write_text(HARNESS)
        (self.folder.evaluator / "evaluator.py").write_text(evaluator)
        self.folder.spec.write_text(self.spec.to_json())
        self.process = start_supervisor(self.folder)
        return self.process

    def run(self, candidate, evaluator=EVALUATOR, patience=60):
        self.start(candidate, evaluator).wait(patience)
        said = (self.folder.path / "supervisor.log").read_text()
        assert self.process.returncode == 0, said
        return self.folder.read_exit()


@pytest.fixture
def bench(tmp_path, isolation, interpreter):
    bench = Bench(tmp_path / "job", isolation, interpreter)
    yield bench
    process = getattr(bench, "process", None)
    if process is not None and process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def until(condition, seconds=20.0):
    """Wait for something to become true; fail when it does not."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.01)
    return found
