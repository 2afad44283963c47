"""The engineer daemon: one per workspace, takes experiments off the queue and walks them through their stages.

It holds no state that the database and the job folders do not have. Kill it at any moment: the supervisors go on, and
the next daemon adopts their jobs.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from ..database import baselines, campaigns, experiments, judgements, nodes, progress
from ..database.connection import Transaction
from ..database.experiments import Job, StoredFile
from ..database.map_elites import appraisal, archive
from ..database.results import KnownResult
from ..database.seed_key import seed_key
from ..database.workspace import Workspace
from ..domains.loader import Domain, find_domain
from ..domains.stages import Stage
from ..evolution.errors import EvolveError, SandboxUnavailable, StorageError
from ..evolution.models import Campaign, Experiment
from ..evolution.outcomes import ExperimentStatus, Outcome
from ..evolution.progress import Point
from ..evolution.samplers import MAP_ELITES
from . import cgroups
from .cascade import End, Measure, Step
from .endings import Left, as_evaluation, ended, last_words, logs, lost, repeated
from .holding import suspected
from .interpreter import Interpreter, describe_interpreter
from .isolation import Isolation, Tier
from .isolation.choice import find_isolation
from .jobs import JobExit, JobFolder
from .measuring import comparison
from .nursery import Nursery
from .preparation import Grant, lay_down_job, requirement_names
from .processes import end_orphans, remove, send
from .provenance import DataFingerprints, known_before
from .references import stop_rules
from .result_cache import known_result
from .walk import Waits, after_measuring, hindrance_of, step_of, wait_for_baseline

logger = logging.getLogger(__name__)

POLL_S = 0.05
IDLE_AFTER_S = 2.0
IDLE_POLL_S = 0.25
QUEUE_VIEW = 200
"""How far down the queue one look goes."""
PROGRESS_EVERY_S = 1.0
CANCEL_PATIENCE_S = 10.0
"""How long a supervisor has to clean up after a cancel before it is killed."""


@dataclass(frozen=True)
class Slots:
    """What the machine gives to experiments."""

    cpus: int
    gpus: tuple[int, ...]
    """Device numbers."""


@dataclass
class _Flight:
    """An ordered job, which holds its slots until it is settled."""

    job: Job
    supervisor: int | None
    """Process id; `None` before it has been started, and for an adopted job."""
    cancel_requested: bool = False
    cancelled_at: float | None = None
    progress_seen: int | None = None
    """Which state of progress.json has been stored."""
    sign_of_life: float | None = None
    silent_seconds: float = 0.0
    """Since the last sign of life, as far as we were awake ourselves."""
    looked_at: float = field(default_factory=time.monotonic)

    def listen(self, sign_of_life: float | None) -> float:
        """For how many seconds the supervisor has shown no sign of life."""
        now = time.monotonic()
        between, self.looked_at = min(now - self.looked_at, 1.0), now
        self.silent_seconds = 0.0 if sign_of_life != self.sign_of_life else self.silent_seconds + between
        self.sign_of_life = sign_of_life
        return self.silent_seconds


@dataclass
class Engineer:
    """The daemon's loop."""

    workspace: Workspace
    slots: Slots
    idle_seconds: float
    minimum_tier: Tier = "landlock"
    """The weakest sandbox that experiments may run in."""
    woken_after_s: float = 10.0
    """A supervisor without a sign of life for so long gets a SIGCONT,"""
    lost_after_s: float = 120.0
    """and after so long a SIGKILL."""
    _flights: dict[int, _Flight] = field(default_factory=dict[int, _Flight])
    _nursery: Nursery = field(default_factory=Nursery)
    _groups: Path | None = field(default_factory=cgroups.claim)
    _seen_version: int = -1
    _next_note: float = 0.0
    _interpreters: dict[tuple[object, ...], Interpreter] = field(default_factory=dict[tuple[object, ...], Interpreter])
    _data: DataFingerprints = field(default_factory=DataFingerprints)
    _isolations: dict[tuple[str, ...], Isolation] = field(default_factory=dict[tuple[str, ...], Isolation])

    async def run(self) -> None:
        """Work until there has been nothing to do for `idle_seconds`."""
        try:
            await self._work()
        finally:
            self._nursery.close()

    async def _work(self) -> None:
        await self._adopt()
        last_busy = time.monotonic()
        while True:
            if not self.workspace.paths.database.exists():
                logger.warning("%s was removed; ending", self.workspace.paths.root)
                return
            try:
                busy = await self._round()
            except StorageError:
                # A full disk or a locked file passes; the jobs in flight must not be dropped for it.
                logger.exception("The database cannot be used; trying again")
                self._seen_version = -1
                await asyncio.sleep(1.0)
                continue
            now = time.monotonic()
            last_busy = now if busy else last_busy
            if now - last_busy > self.idle_seconds:
                return
            await asyncio.sleep(IDLE_POLL_S if now - last_busy > IDLE_AFTER_S else POLL_S)

    async def _adopt(self) -> None:
        for job in await experiments.jobs(self.workspace.read):
            logger.info("Adopting %s", job.folder)
            self._flights[job.id] = _Flight(job, None)
        known = {flight.job.folder for flight in self._flights.values()}
        for path in self.workspace.paths.jobs.iterdir():
            if path.name not in known:  # settled, and then the daemon was killed
                await remove(path)

    async def _round(self) -> bool:
        version = await self.workspace.read.value("PRAGMA data_version")
        changed, self._seen_version = version != self._seen_version, version
        for flight in list(self._flights.values()):
            try:
                await self._look_after(flight, changed)
            except StorageError:
                raise
            except Exception as error:  # noqa: BLE001 -- a bug of ours ends this experiment, not the daemon and the queue
                await self._give_up(flight.job.experiment_id, error)
        await self._note_progress()
        if changed:  # nothing can have been queued, and no slot freed, without a commit
            await self._fill_slots()
        return bool(self._flights)

    async def _look_after(self, flight: _Flight, changed: bool) -> None:
        folder = self._folder(flight.job)
        match folder.liveness():
            case "running":
                self._wake(flight, folder)
                await self._pass_on_cancel(flight, folder, changed)
            case "not_started" if flight.supervisor is not None:
                send(flight.supervisor, signal.SIGKILL)
                end_orphans(flight.job.token)
                await self._settle(flight.job, lost(flight.job, "The job's folder was removed while it ran."))
            case "not_started":
                await self._launch(flight.job)
            case "exited":
                job_exit = folder.read_exit()
                if job_exit is None or job_exit.token != flight.job.token:
                    job_exit = lost(flight.job, "The job's folder holds the end of another job.")
                await self._settle(flight.job, job_exit)
            case "died" if flight.supervisor is None and folder.supervisor_pid() is None:
                # A daemon was killed between taking the lock and starting the supervisor, or the supervisor before its
                # first line: no sandbox has been started.
                await self._launch(flight.job)
            case "died":
                end_orphans(flight.job.token)
                cancelled = ended(flight.job, Outcome.CANCELLED, "Cancelled while it ran.")
                silence = f"It had shown no sign of life for {flight.silent_seconds:.0f} s. "
                words = (silence if flight.silent_seconds > self.lost_after_s else "") + last_words(folder)
                ending = cancelled if flight.cancelled_at is not None else lost(flight.job, words)
                await self._settle(flight.job, ending)

    def _wake(self, flight: _Flight, folder: JobFolder) -> None:
        """A supervisor that was stopped holds its slot and keeps no bounds: go on, or be lost."""
        silent = flight.listen(folder.sign_of_life())
        pid = folder.supervisor_pid()
        if pid is not None and silent > self.lost_after_s:
            send(pid, signal.SIGKILL)
        elif pid is not None and silent > self.woken_after_s:
            send(pid, signal.SIGCONT)

    async def _pass_on_cancel(self, flight: _Flight, folder: JobFolder, changed: bool) -> None:
        if changed and not flight.cancel_requested:
            experiment = await experiments.get(self.workspace.read, flight.job.experiment_id)
            flight.cancel_requested = experiment.cancel_requested
        pid = folder.supervisor_pid() if flight.cancel_requested else None
        if pid is None:
            return
        if flight.cancelled_at is None:
            flight.cancelled_at = time.monotonic()
            send(pid, signal.SIGTERM)
        elif time.monotonic() - flight.cancelled_at > CANCEL_PATIENCE_S:
            send(pid, signal.SIGKILL)

    async def _note_progress(self) -> None:
        """Store what the runs told last, all in one transaction, for any server to report."""
        if time.monotonic() < self._next_note:
            return
        self._next_note = time.monotonic() + PROGRESS_EVERY_S
        points: dict[int, Point] = {}
        for flight in self._flights.values():
            folder = self._folder(flight.job)
            state = _state_of(folder.progress)
            told = folder.read_progress() if state not in (None, flight.progress_seen) else None
            if told is not None and told.latest is not None:
                points[flight.job.id] = told.latest
            flight.progress_seen = state
        if points:
            async with self.workspace.transaction() as tx:
                await progress.note(tx, points)

    async def _fill_slots(self) -> None:
        for experiment in await experiments.queued(self.workspace.read, limit=QUEUE_VIEW):
            if self._free_cpus() <= 0:
                return
            await self._try(experiment)

    async def _try(self, experiment: Experiment) -> None:
        try:
            await self._begin(experiment)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 -- as above
            await self._give_up(experiment.id, error)

    async def _begin(self, experiment: Experiment) -> None:
        campaign, domain = await self._domain_of(experiment)
        step = await step_of(self.workspace.read, experiment, domain.spec)
        if isinstance(step, Step):
            hindrance = await hindrance_of(self.workspace.read, experiment, domain.spec, step.stage)
            if isinstance(hindrance, Waits):
                await self._wait_for_baseline(experiment, campaign, hindrance, step.stage)
                return
            if hindrance is None and self._room_for(step.stage) is None:
                return  # it keeps its place in the queue; a smaller one behind it may go first
        job: Job | None = None
        async with self.workspace.transaction() as tx:
            if await experiments.start(tx, experiment.id):  # false where it was cancelled meanwhile
                job = await self._advance(tx, experiment, campaign, domain, step)
        if job is not None:
            await self._launch(job)

    async def _wait_for_baseline(self, experiment: Experiment, campaign: Campaign, waits: Waits, stage: Stage) -> None:
        """Leave an experiment in its place, see that the baseline is ordered, and let that go first."""
        first = waits.experiment
        if first is None or experiment.reason != waits.reason:  # it does not know yet; a commit for each look costs
            async with self.workspace.transaction() as tx:
                first = await wait_for_baseline(tx, experiment, campaign, waits, stage)
        if first.status is ExperimentStatus.QUEUED:
            await self._try(first)

    async def _domain_of(self, experiment: Experiment) -> tuple[Campaign, Domain]:
        campaign = await campaigns.get(self.workspace.read, experiment.campaign_id)
        domain = find_domain(campaign.domain)
        if domain.spec.domain.version != campaign.domain_version:
            raise SandboxUnavailable(
                f"Campaign c{campaign.id} was started on version {campaign.domain_version} of domain {domain.name}, "
                f"which is now version {domain.spec.domain.version}: scores would not compare. Start a new campaign, "
                "or bring the old version back."
            )
        return campaign, domain

    async def _advance(
        self, tx: Transaction, experiment: Experiment, campaign: Campaign, domain: Domain, step: Step | Measure | End
    ) -> Job | None:
        """Order the next job of a running experiment, close it, or send it back to wait for room or the baseline."""
        step = await after_measuring(tx, experiment, domain.spec, step)
        if isinstance(step, End) and experiment.quarantine is None:
            held = await suspected(tx, experiment, campaign, domain, step)
            if held is not None:
                logger.info("Holding e%d: %s", experiment.id, held.reason)
                await experiments.hold(tx, experiment.id, held)
                now = await experiments.get(tx, experiment.id)
                step = await after_measuring(tx, now, domain.spec, await step_of(tx, now, domain.spec))
        if isinstance(step, Step):
            hindrance = await hindrance_of(tx, experiment, domain.spec, step.stage)
            if isinstance(hindrance, Waits):
                await experiments.requeue(tx, experiment.id)
                await wait_for_baseline(tx, experiment, campaign, hindrance, step.stage)
                return None
            step = step if hindrance is None else End(Outcome.INFRASTRUCTURE_ERROR, hindrance, step.stage.name, None)
        if isinstance(step, End):
            await self._close(tx, experiment, domain, step)
            return None
        room = self._room_for(step.stage)
        if room is None:
            await experiments.requeue(tx, experiment.id)
            return None
        return await experiments.order_job(
            tx,
            experiment_id=experiment.id,
            stage=step.stage.name,
            seed=step.seed,
            token=uuid.uuid4().hex,
            cpus=room.cpus,
            gpus=room.gpus,
        )

    def _room_for(self, stage: Stage) -> Slots | None:
        """What a stage would get now; `None` while it has to wait.

        Raises:
            SandboxUnavailable: this machine can never run it.
        """
        if stage.gpus > len(self.slots.gpus):
            raise SandboxUnavailable(
                f"Stage {stage.name} needs {stage.gpus} GPU(s), but the engineer has {len(self.slots.gpus)}. Run on a "
                "machine with a GPU, or name its devices in ASI_EVOLVE_GPUS."
            )
        cpus = min(stage.cpus, self.slots.cpus)
        gpus = self._free_gpus()[: stage.gpus]
        return Slots(cpus, tuple(gpus)) if cpus <= self._free_cpus() and len(gpus) == stage.gpus else None

    async def _close(self, tx: Transaction, experiment: Experiment, domain: Domain, end: End) -> None:
        await experiments.finish(tx, experiment.id, end.outcome, end.reason, end.score)
        if end.outcome is not Outcome.SCORED:
            return
        node = await nodes.get(tx, experiment.node_id)
        order = [stage.name for stage in domain.spec.stages]
        if node.score_stage is None or order.index(end.stage) >= order.index(node.score_stage):
            rubric = domain.spec.judge
            await judgements.rescore(tx, node.id, end.stage, rubric.weighing if rubric is not None else None)

    async def _launch(self, job: Job) -> None:
        folder = self._folder(job)
        self._flights[job.id] = _Flight(job, None)  # it holds its slots from here on, also while launching it fails
        try:
            experiment = await experiments.get(self.workspace.read, job.experiment_id)
            if experiment.cancel_requested:
                await self._settle(job, ended(job, Outcome.CANCELLED, "Cancelled before it started."))
                return
            campaign, domain = await self._domain_of(experiment)
            stage = domain.spec.stage(job.stage)
            if stage is None:
                raise SandboxUnavailable(f"Domain {domain.name} no longer has the stage {job.stage}.")
            interpreter = self._interpreter(campaign.settings.python or sys.executable, domain)
            node = await nodes.get(self.workspace.read, experiment.node_id)
            files = await nodes.files(self.workspace.read, experiment.node_id)
            known = await baselines.statistics(self.workspace.read, campaign.id, stage.name)
            lay_down_job(
                folder,
                domain=domain,
                instance=campaign.instance,
                stage=stage,
                seed=job.seed,
                files=files,
                token=job.token,
                grant=Grant(
                    isolation=self._isolation(interpreter),
                    interpreter=interpreter,
                    cpus=job.cpus,
                    gpus=job.gpus,
                    seed_key=await seed_key(self.workspace.read),
                    groups=self._groups,
                ),
                comparison=comparison(known, job.seed, own=node.is_baseline),
                provenance=await asyncio.to_thread(known_before, domain, self._data),  # it may read gigabytes, once
                stop_rules=await stop_rules(self.workspace.read, domain.spec, job.stage, node),
            )
            answered = await known_result(self.workspace, folder, files) if stage.cache else None
            if answered is None:
                logger.info("Launching %s", job.folder)
                self._flights[job.id] = _Flight(job, self._nursery.start(folder))
        except StorageError:
            raise  # it has not started, and is launched again
        except (EvolveError, OSError) as error:
            await self._settle(job, ended(job, Outcome.INFRASTRUCTURE_ERROR, str(error)))
        else:
            if answered is not None:
                logger.info("Answering %s from e%d", job.folder, answered.evaluation.experiment_id)
                await self._settle(job, repeated(job, answered, stage, domain), answered)

    async def _settle(self, job: Job, job_exit: JobExit, answered: KnownResult | None = None) -> None:
        """Store what came of a job, then order the next one or close the experiment: in one transaction.

        Args:
            answered: the earlier run whose result it is.
        """
        folder = self._folder(job)
        experiment = await experiments.get(self.workspace.read, job.experiment_id)
        launch: Job | None = None
        flight = self._flights.get(job.id, _Flight(job, None))
        try:
            campaign, domain = await self._domain_of(experiment)
            own = (await nodes.get(self.workspace.read, experiment.node_id)).is_baseline
            known = await baselines.statistics(self.workspace.read, campaign.id, job.stage)
            evaluation = as_evaluation(job, job_exit, domain, known, own=own)
            left = self._left(folder, job_exit, domain) if answered is None else Left.by(answered)
            reusable = evaluation.outcome is Outcome.SCORED and "stopped_early" not in evaluation.environment
            measured = None
            if evaluation.outcome is Outcome.SCORED and campaign.settings.sampler == MAP_ELITES:
                measured = await appraisal.appraise(self.workspace.read, campaign.id, [experiment.node_id])
            async with self.workspace.transaction() as tx:
                if await experiments.settle_job(
                    tx,
                    job,
                    evaluation,
                    left.logs,
                    left.artifacts,
                    left.progress,
                    result_key=folder.read_result_key() if reusable else None,
                    cached_from=answered.evaluation_id if answered is not None else None,
                ):
                    self._flights.pop(job.id, None)  # its slots are free for its own next stage
                    step = await step_of(tx, experiment, domain.spec)
                    launch = await self._advance(tx, experiment, campaign, domain, step)
                    await archive.admit(tx, measured)  # where it has a score now
        except Exception:
            self._flights[job.id] = flight  # nothing was stored
            raise
        self._flights.pop(job.id, None)
        self._seen_version = -1  # a slot is free, also where nothing was committed
        await remove(folder.path)
        if launch is not None:
            await self._launch(launch)

    async def _give_up(self, experiment_id: int, error: Exception) -> None:
        """Our own fault, or the domain's: never the candidate's."""
        jobs = (flight.job for flight in self._flights.values() if flight.job.experiment_id == experiment_id)
        job = next(jobs, None)  # an experiment has one at a time
        reason = str(error)
        if not isinstance(error, (EvolveError, OSError)):
            reason = f"The engineer failed, which is a bug: {error!r}. engineer.log in the workspace tells where."
        logger.warning("Experiment e%d: %s", experiment_id, reason, exc_info=error)
        if job is not None:
            pid = self._folder(job).supervisor_pid()
            if pid is not None and self._folder(job).liveness() == "running":
                send(pid, signal.SIGKILL)
        async with self.workspace.transaction() as tx:
            if job is not None:
                failed = ended(job, Outcome.INFRASTRUCTURE_ERROR, reason)
                await experiments.settle_job(tx, job, as_evaluation(job, failed, None), {}, [])
            await experiments.finish(tx, experiment_id, Outcome.INFRASTRUCTURE_ERROR, reason, None)
        if job is not None:
            self._flights.pop(job.id, None)
            self._seen_version = -1
            await remove(self._folder(job).path)

    def _left(self, folder: JobFolder, job_exit: JobExit, domain: Domain) -> Left:
        return Left(logs(folder), self._keep(folder, job_exit, domain), folder.read_progress())

    def _keep(self, folder: JobFolder, job_exit: JobExit, domain: Domain) -> list[StoredFile]:
        mime_types = {f"result/{artifact.file}": artifact.mime_type for artifact in domain.spec.artifacts}
        kept: list[StoredFile] = []
        for path in job_exit.artifacts:
            data = (folder.path / path).read_bytes()
            mime_type = mime_types.get(path, "application/octet-stream")
            name = path.split("/", 1)[1]
            kept.append(StoredFile(name, mime_type, self.workspace.artifacts.put(data), len(data)))
        return kept

    def _interpreter(self, executable: str, domain: Domain) -> Interpreter:
        """Asked once for as long as neither the interpreter nor its packages change."""
        packages = tuple(requirement_names(domain.spec.domain.requirements))
        changed = tuple(_modified(path) for path in (executable, *_package_folders(executable)))
        key = (executable, packages, changed)
        if key not in self._interpreters:
            self._interpreters[key] = describe_interpreter(executable, packages)
        return self._interpreters[key]

    def _isolation(self, interpreter: Interpreter) -> Isolation:
        """Tried once for each interpreter; a failure is tried again, since somebody may have mended it."""
        if interpreter.roots not in self._isolations:
            self._isolations[interpreter.roots] = find_isolation(interpreter, self.minimum_tier)
        return self._isolations[interpreter.roots]

    def _folder(self, job: Job) -> JobFolder:
        return JobFolder(self.workspace.paths.jobs / job.folder)

    def _free_cpus(self) -> int:
        return self.slots.cpus - sum(flight.job.cpus for flight in self._flights.values())

    def _free_gpus(self) -> list[int]:
        taken = {gpu for flight in self._flights.values() for gpu in flight.job.gpus}
        return [gpu for gpu in self.slots.gpus if gpu not in taken]


def _package_folders(executable: str) -> list[str]:
    """Folders whose modification time changes when a package is installed."""
    return [str(path) for path in Path(executable).parent.parent.glob("lib/python3*/site-packages")]


def _modified(path: str) -> float:
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return 0.0


def _state_of(path: Path) -> int | None:
    """A number that changes with a file; `None` where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
