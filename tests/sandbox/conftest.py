"""Job folders as the daemon lays them down, and a real supervisor, started by the daemon's own code."""

import json
import sys
import textwrap
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.errors import SandboxUnavailable
from asi_evolve.sandbox.interpreter import describe_interpreter
from asi_evolve.sandbox.isolation import TIERS, from_fields
from asi_evolve.sandbox.isolation.choice import find_isolation, try_tiers
from asi_evolve.sandbox.jobs import JobFolder, JobSpec, Limits, OutputRule, write_atomically
from asi_evolve.sandbox.processes import start_supervisor

from .shape_lab import ShapeLab

HARNESS = """
import sys
sys.path.insert(0, "/job/candidate")
import candidate
if hasattr(candidate, "work"):
    candidate.work()
"""
SUBMIT = 'open("/job/out/answer.txt", "w").write("42")\n'
"""What an honest candidate ends with."""
EVALUATOR = """
import json
text = open("/job/outputs/answer.txt").read()
told = {"metrics": {"value": float(text)}} if text.isdigit() else {"invalid": "Expected digits."}
json.dump(told, open("/job/result/metrics.json", "w"))
"""
LIMITS = Limits(cpu_seconds=10, wall_seconds=30, memory_mb=400, disk_mb=20, output_mb=2, pids=32)
ANSWER = OutputRule("answer.txt", 1000, True, None)


class SandboxLab:
    """Lays down jobs and runs them."""

    def __init__(self, root: Path, spec: JobSpec) -> None:
        self.root = root
        self.spec = spec
        self.count = 0

    def lay_down(
        self, candidate: str, *, evaluator: str = EVALUATOR, harness: str | None = HARNESS, **spec
    ) -> JobFolder:
        """With `harness=None` only the evaluator will run."""
        self.count += 1
        job = JobFolder(self.root / f"e{self.count}-check-0-1")
        for part in (job.candidate, job.harness, job.evaluator, job.out, job.outputs, job.result):
            part.mkdir(parents=True)
        (job.candidate / "candidate.py").write_text(textwrap.dedent(candidate))
        if harness is None:
            spec["harness"] = None
        else:
            (job.harness / "harness.py").write_text(harness)
        (job.evaluator / "evaluator.py").write_text(textwrap.dedent(evaluator))
        job.params.write_text(json.dumps({"seed": 0}))
        write_atomically(job.spec, replace(self.spec, **spec).to_json().encode())
        return job

    def run(self, candidate: str, **spec):
        """Run a job to its end and return that."""
        return self.finish(self.lay_down(candidate, **spec))

    def finish(self, job: JobFolder):
        """Run a job that was laid down to its end and return that."""
        assert start_supervisor(job).wait(60) == 0, (job.path / "supervisor.log").read_text()
        end = job.read_exit()
        assert end is not None
        return end

    def last(self) -> JobFolder:
        return JobFolder(self.root / f"e{self.count}-check-0-1")


@pytest.fixture(scope="session")
def interpreter():
    return describe_interpreter(sys.executable, ("numpy",))


@pytest.fixture(scope="session")
def isolation(interpreter):
    try:
        return find_isolation(interpreter)
    except SandboxUnavailable as error:
        pytest.skip(f"no sandbox on this machine: {error}")


@pytest.fixture(scope="session")
def working_tiers(interpreter):
    """Tier to what makes it, of those that can run here."""
    attempts = try_tiers(interpreter, TIERS, all_of_them=True)
    return {attempt.tier: attempt.fields for attempt in attempts if attempt.failure is None}


@pytest.fixture
async def workspace(tmp_path):
    async with open_workspace(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def lab(tmp_path, isolation, interpreter, monkeypatch):
    monkeypatch.setenv("LAB_SECRET", "hunter2")
    spec = JobSpec(
        token=uuid.uuid4().hex,  # tests that run beside this one end the sandboxes of their own jobs by it
        isolation=isolation.fields(),
        interpreter=interpreter,
        harness="harness.py",
        evaluator="evaluator.py",
        public_data=None,
        hidden_data=None,
        limits=LIMITS,
        evaluator_limits=LIMITS,
        outputs=(ANSWER,),
        artifacts=(),
        gpus=(),
        groups=None,
        threads=1,
        evaluator_sha256="0" * 64,
    )
    return SandboxLab(tmp_path / "jobs", spec)


@pytest.fixture(params=["bwrap", "landlock"])
def tier(request, working_tiers):
    """The tiers of both kinds, with namespaces and without, as far as they work here."""
    if request.param not in working_tiers:
        pytest.skip(f"no {request.param} on this machine")
    return from_fields(working_tiers[request.param])


@pytest.fixture
def shapes(tmp_path, tier, interpreter):
    return ShapeLab(tmp_path / "jobs", tier, interpreter)
