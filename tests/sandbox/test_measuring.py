"""Scores relative to the baseline: who measures it when, who waits for that, and what comes of it."""

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from statistics import stdev

import pytest
from asi_evolve.database import baselines, campaigns, experiments, nodes
from asi_evolve.database.workspace import open_workspace
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.evidence.comparison import difference
from asi_evolve.evolution.models import CampaignSettings
from asi_evolve.evolution.outcomes import ExperimentStatus, Outcome
from asi_evolve.evolution.relative import sigmoid
from asi_evolve.sandbox.domain_check import check_domain
from asi_evolve.sandbox.engineer import Engineer, Slots
from asi_evolve.sandbox.verification import verify

from ..waiting import until_async

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("isolation")]

RIVAL_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "rival"
MEAN, SD = 1.0, 0.1


@pytest.fixture
async def workspace(tmp_path):
    async with open_workspace(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def own_domain(tmp_path):
    """A way to change a copy of the rival domain: file to (old, new) texts; returns its folder."""
    folder = Path(shutil.copytree(RIVAL_DOMAIN, tmp_path / "rival"))

    def change(**files):
        for name, (old, new) in files.items():
            path = folder / {"baseline": "baseline/rival.py", "spec": "domain.toml"}.get(name, f"{name}.py")
            assert old in path.read_text()
            path.write_text(path.read_text().replace(old, new))
        return folder

    return change


def program(loss, cost=1.0):
    return {"rival.py": f"def measure(seed, stage):\n    return {{'loss': {loss}, 'cost': {cost}}}\n"}


async def start(workspace, domain=RIVAL_DOMAIN, baseline_stage="explore", seeds=(0, 1, 2)):
    """A campaign with its baseline, queued where a stage is named; (its number, the baseline's)."""
    loaded = load_domain(domain)
    async with workspace.transaction() as tx:
        campaign = await campaigns.add(
            tx,
            name="c",
            goal="",
            domain=str(domain),
            domain_name="rival",
            domain_version="1",
            instance=None,
            settings=CampaignSettings(python=sys.executable),
        )
        baseline = await nodes.add(
            tx, nodes.NewNode(campaign, "baseline", "m", loaded.baseline, f"f{campaign}", is_baseline=True)
        )
        if baseline_stage is not None:
            await experiments.enqueue(
                tx, campaign_id=campaign, node_id=baseline, stage=baseline_stage, seeds=list(seeds)
            )
    return campaign, baseline


async def order(workspace, campaign, files, stage="explore", seeds=(0,), node=None):
    async with workspace.transaction() as tx:
        node = node or await nodes.add(tx, nodes.NewNode(campaign, "n", "m", files, json.dumps(files)))
        number = await experiments.enqueue(tx, campaign_id=campaign, node_id=node, stage=stage, seeds=list(seeds))
    return number, node


@contextlib.asynccontextmanager
async def at_work(workspace, slots=1):
    """A daemon works meanwhile; at the end it is gone as if it had been killed."""
    work = asyncio.create_task(Engineer(workspace, Slots(slots, ()), idle_seconds=30).run())
    try:
        yield
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def finished(workspace, number, seconds=60.0):
    async with asyncio.timeout(seconds):
        while (found := await experiments.get(workspace.read, number)).status is not ExperimentStatus.FINISHED:
            await asyncio.sleep(0.02)
    await until_async(lambda: not list(workspace.paths.jobs.glob(f"e{number}-*")))
    return found


async def runs(workspace, number):
    return [stored.evaluation for stored in await experiments.evaluations(workspace.read, [number])]


async def of_baseline(workspace, campaign):
    node = await nodes.baseline_id(workspace.read, campaign)
    return await experiments.of_node(workspace.read, node)


async def test_the_baseline_is_measured_once_and_its_runs_scatter_around_a_half(workspace):
    campaign, baseline = await start(workspace)
    async with at_work(workspace):
        (first,) = await of_baseline(workspace, campaign)
        found = await finished(workspace, first.id)
    assert (found.outcome, found.score) == (Outcome.SCORED, pytest.approx(0.5))
    here = [run for run in await runs(workspace, first.id) if run.stage == "explore"]
    shares = [sigmoid((MEAN - run.metrics["loss"]) / (2 * SD)) for run in here]
    assert [run.score for run in here] == pytest.approx(shares)
    assert [run.metrics["score"] for run in here] == [run.score for run in here]
    assert len(set(shares)) == 3, "their spread is the noise of the score"
    known = (await baselines.statistics(workspace.read, campaign, "explore"))["loss"]
    assert (known.mean, known.sd) == (pytest.approx(MEAN), pytest.approx(SD))
    assert known.by_seed == pytest.approx({0: 0.9, 1: 1.0, 2: 1.1})
    node = await nodes.get(workspace.read, baseline)
    assert (node.score, node.score_seeds) == (pytest.approx(0.5), 3)
    assert node.score_stderr > 0


async def test_what_was_measured_is_never_changed_by_later_runs_of_the_baseline(workspace):
    campaign, baseline = await start(workspace)
    async with at_work(workspace):
        await finished(workspace, (await of_baseline(workspace, campaign))[0].id)
        before = await baselines.statistics(workspace.read, campaign, "explore")
        again, _ = await order(workspace, campaign, None, seeds=[3, 4], node=baseline)
        await finished(workspace, again)
    assert await baselines.statistics(workspace.read, campaign, "explore") == before
    scores = [run.score for run in await runs(workspace, again) if run.stage == "explore"]
    assert scores == pytest.approx([sigmoid(0.5), 0.5])


async def test_a_candidate_is_scored_by_its_gain_and_fined_for_its_cost(workspace):
    campaign, _ = await start(workspace)
    better, _ = await order(workspace, campaign, program(0.8))
    worse, _ = await order(workspace, campaign, program(1.2))
    dear, _ = await order(workspace, campaign, program(0.8, cost=8.0))
    async with at_work(workspace, slots=2):
        ends = [await finished(workspace, number) for number in (better, worse, dear)]
    assert [end.outcome for end in ends] == [Outcome.SCORED] * 3
    expected = [sigmoid(1), sigmoid(-1), sigmoid(1) - 0.1 * 2]
    assert [end.score for end in ends] == pytest.approx(expected)


async def test_a_candidate_that_comes_first_keeps_its_place_and_the_baseline_is_run_once_for_all(workspace):
    campaign, _ = await start(workspace, baseline_stage=None)
    numbers = [(await order(workspace, campaign, program(0.8 + 0.01 * place)))[0] for place in range(3)]
    async with at_work(workspace):
        ends = [await finished(workspace, number) for number in numbers]
    assert [end.outcome for end in ends] == [Outcome.SCORED] * 3
    ordered = await of_baseline(workspace, campaign)
    assert [(entry.stage, entry.seeds, entry.outcome) for entry in ordered] == [("explore", (0, 1, 2), Outcome.SCORED)]
    assert ends[0].finished_at < ends[1].finished_at < ends[2].finished_at
    assert ordered[0].finished_at < ends[0].finished_at
    assert "Waits" not in ends[0].reason


async def test_while_it_waits_a_candidate_says_for_what_and_can_be_cancelled(workspace, own_domain):
    folder = own_domain(baseline=("    return", "    __import__('time').sleep(3)\n    return"))
    campaign, _ = await start(workspace, folder)
    number, _ = await order(workspace, campaign, program(0.8))
    (baseline,) = await of_baseline(workspace, campaign)
    async with at_work(workspace, slots=2):
        async with asyncio.timeout(20):
            while "baseline" not in (found := await experiments.get(workspace.read, number)).reason:
                await asyncio.sleep(0.02)
        assert (found.status, found.reason) == (
            ExperimentStatus.QUEUED,
            f"Waits for the baseline (e{baseline.id}): scores at this stage are relative to it.",
        )
        assert [run.stage for run in await runs(workspace, number)] == ["check"], "which needs no baseline"
        async with workspace.transaction() as tx:
            await experiments.cancel(tx, number)
        assert (await finished(workspace, number)).outcome is Outcome.CANCELLED


async def test_a_dearer_stage_has_statistics_of_its_own(workspace):
    campaign, _ = await start(workspace)
    number, _ = await order(workspace, campaign, program("0.5 if stage == 'deep' else 1.0"), stage="deep")
    async with at_work(workspace):
        found = await finished(workspace, number)
    assert found.outcome is Outcome.SCORED, found.reason
    assert await baselines.measured_stages(workspace.read, campaign) == {"explore", "deep"}
    assert [(entry.stage, entry.seeds) for entry in await of_baseline(workspace, campaign)] == [
        ("explore", (0, 1, 2)),
        ("deep", (0, 1)),
    ]
    known = (await baselines.statistics(workspace.read, campaign, "deep"))["loss"]
    assert found.score == pytest.approx(sigmoid((known.mean - 0.5) / (2 * known.sd)))


async def test_on_the_way_to_a_dearer_stage_the_baseline_measures_the_cheaper_ones_too(workspace):
    campaign, _ = await start(workspace, baseline_stage="deep", seeds=(5,))
    async with at_work(workspace):
        (entry,) = await of_baseline(workspace, campaign)
        found = await finished(workspace, entry.id)
    assert found.outcome is Outcome.SCORED, found.reason
    assert [(run.stage, run.seed) for run in await runs(workspace, entry.id)] == [
        ("check", 5), ("explore", 5), ("explore", 6), ("explore", 7), ("deep", 5), ("deep", 6),
    ]  # fmt: skip
    assert found.score == pytest.approx(0.5), "the mean over all that were measured"


async def test_where_the_baseline_fails_candidates_end_with_what_to_do(workspace, own_domain):
    folder = own_domain(baseline=("    return", "    assert stage != 'deep', 'no such depth'\n    return"))
    campaign, baseline = await start(workspace, folder)
    number, node = await order(workspace, campaign, program(0.8), stage="deep")
    async with at_work(workspace):
        found = await finished(workspace, number)
        failed = (await of_baseline(workspace, campaign))[-1]
        assert found.outcome is Outcome.INFRASTRUCTURE_ERROR
        assert f"e{failed.id} ended as candidate_error" in found.reason
        assert "no such depth" in found.reason
        assert f"promote_node(node='n{baseline}', stage='deep')" in found.reason
        another, _ = await order(workspace, campaign, program(0.9), stage="deep")
        assert (await finished(workspace, another)).outcome is Outcome.INFRASTRUCTURE_ERROR
        assert len(await of_baseline(workspace, campaign)) == 2, "it is not tried again by itself"
        async with workspace.transaction() as tx:
            await tx.execute("UPDATE node_files SET text = ? WHERE node_id = ?", (program(1.0)["rival.py"], baseline))
        again, _ = await order(workspace, campaign, None, stage="deep", node=baseline)
        retried, _ = await order(workspace, campaign, None, stage="deep", node=node)
        assert (await finished(workspace, retried)).outcome is Outcome.SCORED
        assert (await finished(workspace, again)).outcome is Outcome.SCORED


async def test_a_baseline_that_was_lost_with_the_machine_runs_once_more_by_itself(workspace):
    campaign, _ = await start(workspace)
    (first,) = await of_baseline(workspace, campaign)
    async with workspace.transaction() as tx:
        await experiments.finish(tx, first.id, Outcome.LOST, "The machine went down.", None)
    number, _ = await order(workspace, campaign, program(0.8))
    async with at_work(workspace):
        assert (await finished(workspace, number)).outcome is Outcome.SCORED
    assert [entry.outcome for entry in await of_baseline(workspace, campaign)] == [Outcome.LOST, Outcome.SCORED]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('return {"metrics": {name', 'del numbers["loss"]\n    return {"metrics": {name', "loss"),
        ('return {"metrics": {name', 'del numbers["cost"]\n    return {"metrics": {name', "cost"),
        ('return {"metrics": {name', 'numbers["score"] = 0.9\n    return {"metrics": {name', "not to report score"),
        ('{"score": 0.0}', '{"loss": 0.0}', "score"),
    ],
)
async def test_what_the_evaluator_does_not_report_is_its_own_fault_and_no_number(
    workspace, own_domain, old, new, named
):
    campaign, _ = await start(workspace, own_domain(evaluator=(old, new)))
    number, _ = await order(workspace, campaign, program(0.8))
    async with at_work(workspace):
        end = await finished(workspace, number)
        ends = [await finished(workspace, (await of_baseline(workspace, campaign))[0].id), end]
    assert [(end.outcome, end.score) for end in ends] == [(Outcome.INFRASTRUCTURE_ERROR, None)] * 2
    assert all(named in end.reason for end in ends)
    assert await baselines.measured_stages(workspace.read, campaign) == set()


async def test_min_score_is_held_against_the_relative_score(workspace, own_domain):
    folder = own_domain(spec=('name = "explore"\n', 'name = "explore"\nmin_score = 0.4\n'))
    campaign, _ = await start(workspace, folder, seeds=(0, 1, 2))
    number, _ = await order(workspace, campaign, program(1.2))
    async with at_work(workspace):
        found = await finished(workspace, number)
    assert found.outcome is Outcome.REJECTED
    assert "Scored 0.268941 at stage explore" in found.reason


@pytest.mark.parametrize("paired", [False, True])
async def test_paired_runs_are_compared_seed_by_seed(workspace, own_domain, paired):
    if paired:
        own_domain(
            spec=("[fitness.relative.terms.loss]", "[fitness.relative]\npaired = true\n\n[fitness.relative.terms.loss]")
        )
    campaign, _ = await start(workspace, own_domain())
    number, _ = await order(workspace, campaign, program("0.8 + 0.1 * (seed % 3)"), seeds=(0, 1, 2, 5))
    async with at_work(workspace):
        await finished(workspace, number)
        own = await runs(workspace, (await of_baseline(workspace, campaign))[0].id)
    scores = [run.score for run in await runs(workspace, number) if run.stage == "explore"]
    gains = [0.1, 0.1, 0.1, 0.0] if paired else [0.2, 0.1, 0.0, 0.0]  # seed 5 has no partner
    assert scores == pytest.approx([sigmoid(gain / (2 * SD)) for gain in gains])
    of_itself = [run.score for run in own if run.stage == "explore"]
    assert of_itself == ([0.5] * 3 if paired else pytest.approx([sigmoid(gain / 2) for gain in (1, 0, -1)]))


async def test_gains_are_in_units_of_the_metric_and_differ_from_the_baseline_by_what_the_seeds_gained(
    workspace, own_domain
):
    gain = "[fitness.relative]\nform = 'gain'\npaired = true\n\n[fitness.relative.terms.loss]"
    spec = own_domain(spec=("[fitness.relative.terms.loss]", gain))
    domain = own_domain(spec=("min_sd = 0.05\n", ""))
    assert spec == domain
    campaign, baseline = await start(workspace, domain)
    number, node = await order(workspace, campaign, program("0.8 + 0.1 * seed + 0.01 * seed ** 2"), seeds=(0, 1, 2))
    async with at_work(workspace):
        await finished(workspace, number)
    scores = {}
    for owner in (node, baseline):
        ordered = await experiments.of_node(workspace.read, owner)
        here = [run for entry in ordered for run in await runs(workspace, entry.id) if run.stage == "explore"]
        scores[owner] = {run.seed: run.score for run in here}
    assert scores[baseline] == {0: 0.0, 1: 0.0, 2: 0.0}
    assert scores[node] == pytest.approx({0: 0.1, 1: 0.09, 2: 0.06}), "the baseline has 0.9 + 0.1 * seed"
    found = difference(scores[baseline], scores[node])
    assert (found.mean, found.paired) == (pytest.approx(0.25 / 3), True)
    assert found.stderr == pytest.approx(stdev([0.1, 0.09, 0.06]) / 3**0.5), "the seeds' luck has cancelled"
    report = await verify(workspace, baseline, rerun=True, gpus=())
    assert report.standing == "stands"


async def told(workspace, number, seed, stage="explore"):
    """(what the harness was told, what the evaluator was told) in a run."""
    (stored,) = [
        stored
        for stored in await experiments.evaluations(workspace.read, [number])
        if (stored.evaluation.stage, stored.evaluation.seed) == (stage, seed)
    ]
    kept = {file.name: file.sha256 for file in await experiments.artifacts(workspace.read, stored.id)}
    harness = json.loads(workspace.artifacts.read(kept["numbers.json"]))["told"]
    return harness, json.loads(workspace.artifacts.read(kept["params.json"]))


async def test_every_program_is_told_which_is_the_baseline_and_the_evaluator_alone_what_it_came_to(workspace):
    campaign, _ = await start(workspace)
    number, _ = await order(workspace, campaign, program(0.8))
    async with at_work(workspace):
        await finished(workspace, number)
    (first,) = await of_baseline(workspace, campaign)
    harness, evaluator = await told(workspace, first.id, 0)
    assert (harness["is_baseline"], evaluator["is_baseline"], evaluator["baseline"]) == (True, True, {})
    harness, evaluator = await told(workspace, number, 0)
    assert (harness["is_baseline"], evaluator["is_baseline"]) == (False, False)
    assert "baseline" not in harness
    assert "hidden_seed" not in harness
    assert evaluator["baseline"]["loss"] == {
        "mean": pytest.approx(MEAN), "sd": pytest.approx(SD), "seeds": 3, "same_seed": pytest.approx(0.9),
    }  # fmt: skip
    other, _ = await order(workspace, campaign, program(0.8), seeds=(7,))
    async with at_work(workspace):
        await finished(workspace, other)
    _, evaluator = await told(workspace, other, 7)
    assert set(evaluator["baseline"]["loss"]) == {"mean", "sd", "seeds"}, "no run of the baseline has this seed"
    _, at_check = await told(workspace, number, 0, stage="check")
    assert at_check["baseline"] == {}


@pytest.mark.slow
async def test_a_daemon_killed_between_baseline_and_candidate_loses_and_doubles_nothing(workspace, own_domain):
    slow = ("    return", "    __import__('time').sleep(0.5)\n    return")
    campaign, _ = await start(workspace, own_domain(baseline=slow), baseline_stage=None)
    numbers = [(await order(workspace, campaign, program(0.8 + 0.01 * place)))[0] for place in range(2)]
    command = [sys.executable, "-m", "asi_evolve.server.cli", "engineer", "--workspace", str(workspace.paths.root)]
    for states in (1, 4):  # so many runs have been settled
        daemon = subprocess.Popen(  # noqa: ASYNC220 -- it starts at once
            [*command, "--cpu-slots", "1"]
        )
        try:
            async with asyncio.timeout(60):
                while (await workspace.read.value("SELECT count(*) FROM evaluations")) < states:
                    assert daemon.poll() is None
                    await asyncio.sleep(0.01)
        finally:
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
    async with at_work(workspace):
        ends = [await finished(workspace, number) for number in numbers]
    assert [end.outcome for end in ends] == [Outcome.SCORED] * 2, [end.reason for end in ends]
    (measured,) = await of_baseline(workspace, campaign)
    assert [(run.stage, run.seed) for run in await runs(workspace, measured.id)] == [
        ("check", 0), ("explore", 0), ("explore", 1), ("explore", 2),
    ]  # fmt: skip
    for number in numbers:
        assert [run.stage for run in await runs(workspace, number)] == ["check", "explore"]


async def test_verify_computes_the_score_again_from_what_the_baseline_came_to(workspace):
    campaign, baseline = await start(workspace)
    number, node = await order(workspace, campaign, program(0.8))
    async with at_work(workspace):
        await finished(workspace, number)
    for subject in (node, baseline):
        report = await verify(workspace, subject, rerun=True, gpus=())
        assert report.standing == "stands", report.text
    async with workspace.transaction() as tx:
        await tx.execute("UPDATE evaluations SET score = 0.9 WHERE experiment_id = ? AND stage = 'explore'", (number,))
        await tx.execute("UPDATE nodes SET score = 0.9 WHERE id = ?", (node,))
    report = await verify(workspace, node, rerun=False, gpus=())
    assert report.standing == "does_not_stand"
    assert "scored 0.9 then and 0.73105857" in report.text


def checked(folder, stage):
    found = check_domain(
        load_domain(folder), stage=stage, python=sys.executable, cpus=2, gpus=(), progress=lambda _: None
    )
    return found, {line.case: line for line in found.lines}


@pytest.mark.slow
def test_check_domain_takes_the_honest_baseline_as_its_own_reference(own_domain):
    folder = own_domain(harness=('{"told": params, **measure', "{**measure"))
    for place, (name, loss) in enumerate({"scored/better": 0.8, "refused/absurd": 1e9}.items()):
        (folder / name).parent.mkdir()
        (folder / f"{name}.py").write_text(program(loss)["rival.py"])
        if place == 0:
            (folder / f"{name}.toml").write_text(f"score = {sigmoid((0.9 - 0.8) / (2 * 0.05))!r}\n")
    found, lines = checked(folder, "explore")
    assert lines["baseline"].text.startswith("scored 0.5 in ")
    assert (lines["scored/better"].state, lines["refused/absurd"].state) == ("ok", "ok")
    assert found.passed, [line for line in found.lines if line.state == "failed"]
    assert checked(folder, "check")[1]["baseline"].text.startswith("scored 0 in ")


def test_check_domain_names_the_metric_that_an_evaluator_forgets(own_domain):
    own_domain(evaluator=('return {"metrics": {name', 'del numbers["cost"]\n    return {"metrics": {name'))
    found, lines = checked(own_domain(), "explore")
    assert not found.passed
    assert "Expected the evaluator to report cost" in lines["baseline"].text
