"""Jobs of the example domains, laid down by the daemon's own code and run by a real supervisor."""

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import asi_evolve
from asi_evolve.domains.loader import load_domain
from asi_evolve.sandbox.jobs import JobFolder, JobSpec, write_atomically
from asi_evolve.sandbox.preparation import Grant, lay_down_job
from asi_evolve.sandbox.processes import start_supervisor

HERE = Path(__file__).parent
DOMAINS = Path(__file__).parent.parent / "domain_folders"
KEY = bytes(32)
TREE = """
import os
def tree():
    job = os.environ["JOB"]
    return sorted(os.path.relpath(os.path.join(place, name), job)
                  for place, _, files in os.walk(job, followlinks=True) for name in files)
"""
"""All files that a program finds in its job folder."""


class ShapeLab:
    def __init__(self, root, isolation, interpreter):
        self.root = root
        self.grant = Grant(isolation, interpreter, 1, (), seed_key=KEY)
        self.count = 0

    def lay_down(self, domain, files=None, *, scripts=None, seed=0, **changes) -> JobFolder:
        """A job folder; `scripts` are laid over the domain's own, `changes` over the job's spec."""
        loaded = load_domain(domain if isinstance(domain, Path) else DOMAINS / domain)
        self.count += 1
        job = JobFolder(self.root / f"e{self.count}-explore-0-1")
        lay_down_job(
            job,
            domain=loaded,
            instance=None,
            stage=loaded.spec.stages[0],
            seed=seed,
            files=files or loaded.baseline,
            token=f"t{self.count}",
            grant=self.grant,
        )
        for path, text in (scripts or {}).items():
            (job.path / path).write_text(text)
        if changes:
            write_atomically(job.spec, replace(job.read_spec(), **changes).to_json().encode())
        return job

    def run(self, domain, files=None, **changes):
        job = self.lay_down(domain, files, **changes)
        assert start_supervisor(job).wait(120) == 0, (job.path / "supervisor.log").read_text()
        return job.read_exit()

    def run_as(self, uid, domain, files=None):
        """The same with the supervisor of another user."""
        job = self.lay_down(domain, files)
        lock = os.open(job.lock, os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.root.parent.chmod(0o755)
        for path in (self.root, job.path, *job.path.rglob("*")):
            os.chown(path, uid, uid)
        reach = [*self.grant.interpreter.roots, str(Path(asi_evolve.__file__).parent), str(self.root.parent)]
        supervisor = [
            sys.executable,
            "-I",
            "-m",
            "asi_evolve.sandbox.supervisor",
            str(job.path),
            "--lock-fd",
            str(lock),
        ]
        as_user = [sys.executable, str(HERE / "as_user.py"), str(uid), json.dumps(reach)]
        with (job.path / "supervisor.log").open("wb") as log:
            subprocess.run([*as_user, *supervisor], pass_fds=[lock], stdout=log, stderr=log, cwd="/", timeout=120)
        os.close(lock)
        return job.read_exit()

    def last(self) -> JobFolder:
        return JobFolder(self.root / f"e{self.count}-explore-0-1")

    def spec(self) -> JobSpec:
        return self.last().read_spec()

    def said(self, log="stdout"):
        """The last line of a log, which a program has printed as JSON."""
        return json.loads(self.last().logs()[log].read_text().splitlines()[-1])
