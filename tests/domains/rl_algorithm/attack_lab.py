"""Jobs of the real boundary in the real sandbox, with candidates that are up to something.

An attack is a file that is laid behind the baseline's program, so that it can go on as GRPO does. Its header says what
must come of it:

    # expect: honest            scored, and every number that the trainer leaves is that of the baseline, bit for bit
    # expect: scored
    # expect: candidate_error: words of the reason
    # expect: limit: name of the bound

A line "LEAK: ..." in its output says that it got hold of something.
"""

import json
import re
import shutil
import textwrap
import uuid
from pathlib import Path

from asi_evolve.domains.loader import load_domain
from asi_evolve.sandbox.jobs import JobFolder
from asi_evolve.sandbox.preparation import Grant, lay_down_job
from asi_evolve.sandbox.processes import start_supervisor

from .boundary_lab import FOLDER

HERE = Path(__file__).parent
BASELINE = (FOLDER / "baseline" / "algorithm.py").read_text()


def shortened_domain(folder: Path) -> Path:
    """The domain with all its programs but for the evaluator, and one short run for a stage."""
    shutil.copytree(HERE / "shortened", folder)
    for name in ("bed", "boundary", "training", "baseline"):
        shutil.copytree(FOLDER / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("harness.py", "stub.py"):
        shutil.copy(FOLDER / name, folder)
    return folder


class AttackRange:
    """Runs candidates of one domain, one job folder each."""

    def __init__(self, root, domain, isolation, interpreter):
        self.root, self.count = root, 0
        self.domain = load_domain(domain)
        self.stage = next(s for s in self.domain.spec.stages if s.name == self.domain.spec.default_stage)
        self.isolation, self.interpreter = isolation, interpreter

    def run(self, attack="", *, key=bytes(32), bounds=None, **parameters):
        """(how it ended, what it printed, its folder) of GRPO with this behind it, in a workspace of this key."""
        self.count += 1
        job = JobFolder(self.root / f"e{self.count}-explore-0-1")
        told = {**self.stage.parameters, **parameters}
        lay_down_job(
            job,
            domain=self.domain,
            instance=None,
            stage=self.stage.model_copy(update={"parameters": told, **(bounds or {})}),
            seed=0,
            files={"algorithm.py": f"{BASELINE}\n\n{textwrap.dedent(attack)}"},
            token=uuid.uuid4().hex,
            grant=Grant(self.isolation, self.interpreter, 1, (), seed_key=key),
        )
        assert start_supervisor(job).wait(200) == 0, (job.path / "supervisor.log").read_text()
        end = job.read_exit()
        assert end is not None, (job.path / "supervisor.log").read_text()
        said = job.stdout.read_text(errors="replace") if job.stdout.exists() else ""
        return end, said, job


def left_by_trainer(job):
    """What it came to, without what a clock says."""
    return _without_clocks(json.loads((job.outputs / "runs.json").read_text()))


def _without_clocks(value):
    if isinstance(value, dict):
        return {name: _without_clocks(part) for name, part in value.items() if not name.endswith("seconds")}
    return [_without_clocks(part) for part in value] if isinstance(value, list) else value


def expectation(path):
    """(kind, words) of an attack's header."""
    kind, _, words = re.search(r"^# expect: (.*)$", path.read_text(), re.MULTILINE)[1].partition(": ")
    return kind, words


def leaks(said):
    """What an attack says that it got."""
    return [line.partition("LEAK:")[2] for line in said.splitlines() if "LEAK:" in line]
