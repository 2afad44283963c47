"""The MAP-Elites archive: every cell holds its best, migration loses nobody, every change of a score is followed."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from asi_evolve.database import campaigns, experiments, nodes
from asi_evolve.database.map_elites import appraisal, archive, cells
from asi_evolve.database.map_elites import view as archive_view
from asi_evolve.database.population import ScoredNodes
from asi_evolve.evolution.map_elites import DEFAULT_MEASURES, ArchiveForm, MapElites, Measure, Range
from asi_evolve.evolution.models import Evaluation, SamplingOptions
from asi_evolve.evolution.outcomes import Outcome, ResourceUsage
from asi_evolve.evolution.statistics import Mean
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import truth

pytestmark = pytest.mark.anyio
FORM = ArchiveForm(DEFAULT_MEASURES, islands=3, bins=4)
WRITER = Path(__file__).parent / "archive_writer.py"


class Archivist:
    """A campaign with an archive."""

    def __init__(self, desk, campaign, form=FORM):
        self.desk, self.campaign, self.form = desk, campaign, form
        self.database, self.read = desk.workspace.database, desk.read
        self.count = 0

    async def add(self, score, code="a\n", parents=(), drawn_for=None, admit=True, **more):
        """A candidate that has scored, measured as the engineer does it; `score` may be `None`."""
        self.count += 1
        async with self.database.transaction() as tx:
            if drawn_for is not None:
                await nodes.count_visit(tx, self.campaign, parents[0], drawn_for)
            new = nodes.NewNode(self.campaign, "n", "", {"a.py": code}, str(self.count), parents, **more)
            number = await nodes.add(tx, new)
        measured = await appraisal.appraise(self.read, self.campaign, [number])
        async with self.database.transaction() as tx:
            await nodes.conclude(tx, number, Outcome.CANDIDATE_ERROR if score is None else Outcome.SCORED)
            if score is not None:
                await nodes.set_score(tx, number, "explore", Mean(score, None, 1))
            if admit:
                await archive.admit(tx, measured)
        return number

    async def rescore(self, node, score):
        async with self.database.transaction() as tx:
            await (
                nodes.hold(tx, node) if score is None else nodes.set_score(tx, node, "explore", Mean(score, None, 2))
            )

    async def catch_up(self, form=None):
        self.form = form or self.form
        return await appraisal.catch_up(self.database, self.campaign, self.form)

    async def place(self, node):
        return await archive_view.place_of(self.read, self.campaign, node)

    async def elites(self, island=None):
        rows = await self.read.all("SELECT * FROM cells WHERE campaign_id = ? ORDER BY island, cell", (self.campaign,))
        return [row["node_id"] for row in rows if island is None or row["island"] == island]

    async def check(self, **more):
        return await truth.check(self.read, self.campaign, **more)


@pytest.fixture
async def kept(desk):
    """An archive of three islands with nobody there."""
    campaign = await desk.campaign(sampler="map_elites", sampling={"islands": 3, "bins": 4, "migration_every": 1000})
    archivist = Archivist(desk, campaign)
    await archivist.catch_up()
    return archivist


codes = st.text("ab\n", min_size=1, max_size=12)
steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add late", "fail", "rescore", "hold"]),
        st.integers(0, 30),
        st.integers(-4, 4),
        codes,
        st.none() | st.integers(0, 2),
    ),
    max_size=25,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, every=st.integers(1, 4), rate=st.sampled_from([0.1, 0.5, 1.0]))
async def test_every_cell_holds_its_best_whatever_happens_to_the_scores(desk, steps, every, rate):
    options = {"islands": 3, "bins": 4, "migration_every": every, "migration_rate": rate}
    archivist = Archivist(desk, await desk.campaign(sampler="map_elites", sampling=options))
    known = [await archivist.add(0.0, is_baseline=True)]
    await archivist.catch_up()
    for what, which, score, code, drawn_for in steps:
        target = known[which % len(known)]
        if what in ("rescore", "hold"):
            await archivist.rescore(target, None if what == "hold" else float(score))
            continue
        number = await archivist.add(
            None if what == "fail" else float(score), code, [target], drawn_for, admit=what != "add late"
        )
        known.append(number)
    await archivist.check()
    homes = {node for (_, node), row in (await archivist.check()).items() if row["is_home"]}
    while await archivist.catch_up():
        pass
    rows = await archivist.check()
    assert homes <= {node for (_, node), row in rows.items() if row["is_home"]}, "a home was lost"
    await archivist.catch_up(ArchiveForm(DEFAULT_MEASURES, islands=3, bins=7))
    again = await archivist.check()
    assert again.keys() == rows.keys(), "other bins move nobody"


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(low=finite, high=finite, value=finite, bins=st.integers(2, 100))
async def test_sorting_anew_in_sql_gives_the_bins_that_the_rule_gives(desk, low, high, value, bins):
    bounds = Range(min(low, high), max(low, high))
    digit, parameters = cells.digit_sql("measure_0", bounds, bins)
    query = f"SELECT {digit} FROM (SELECT ? AS measure_0)"
    assert await desk.read.value(query, [*parameters, value]) == bounds.bin_of(value, bins)
    assert await desk.read.value(query, [*parameters, None]) is None


async def test_the_better_of_a_cell_stands_and_the_next_best_follows_when_its_score_is_taken_back(kept):
    worse = await kept.add(1.0, is_baseline=True)
    child = await kept.add(3.0, parents=[worse], drawn_for=0)
    middle = await kept.add(2.0, parents=[worse], drawn_for=0)
    assert await kept.elites(0) == [child]
    await kept.rescore(child, None)
    assert await kept.elites(0) == [middle]
    await kept.rescore(middle, 0.5)
    assert await kept.elites(0) == [worse], "more seeds have shown that it was luck"
    await kept.rescore(child, 2.5)
    assert await kept.elites(0) == [child]
    await kept.check()


async def test_lineages_go_around_the_islands_and_children_stay_where_their_parent_was_drawn_or_lives(kept):
    baseline = await kept.add(0.0, is_baseline=True)
    founders = [await kept.add(1.0, parents=[baseline]) for _ in range(3)]
    assert [(await kept.place(node)).island for node in [baseline, *founders]] == [0, 1, 2, 0]
    failed = await kept.add(None, parents=[founders[1]])
    assert (await kept.place(await kept.add(1.0, parents=[failed]))).island == 2, "found through a parent that failed"
    assert (await kept.place(await kept.add(1.0, parents=[founders[1]], drawn_for=0))).island == 0
    await kept.check()


async def test_ranges_grow_by_doubling_and_everybody_is_sorted_anew(kept):
    for length in (10, 11, 12, 40, 300, 301, 20):
        await kept.add(float(length), "x" * length)
        await kept.check()
    bounds = (await cells.find(kept.read, kept.campaign)).ranges[0]
    assert bounds == (10.0, 522.0)  # 1, 2, 4 ... 512 wide


async def test_elites_move_along_the_ring_and_stay_at_home(desk):
    options = {"islands": 3, "bins": 4, "migration_every": 2, "migration_rate": 0.5}
    kept = Archivist(desk, await desk.campaign(sampler="map_elites", sampling=options))
    await kept.catch_up()
    first = await kept.add(1.0, "a\n" * 5, is_baseline=True)
    best = await kept.add(2.0, "b\n" * 50, [first], drawn_for=0)
    rows = await kept.check()
    assert {key: row["is_home"] for key, row in rows.items()} == {(0, first): 1, (0, best): 1, (1, best): 0}
    assert await kept.elites(1) == [best]
    await kept.rescore(best, None)
    assert await kept.elites() == [first], "an immigrant goes with its score, too"
    await kept.rescore(best, 3.0)
    assert await kept.elites(1) == [best]
    moved = await desk.read.one("SELECT subject, data_json FROM events WHERE kind = 'elites_migrated'")
    assert tuple(moved) == (f"c{kept.campaign}", f'{{"nodes": ["n{best}"], "island": 0, "to": 1}}')


async def evaluated(kept, node, value, seed):
    """A scored run that tells the metric `spread`."""
    async with kept.database.transaction() as tx:
        number = await experiments.enqueue(tx, campaign_id=kept.campaign, node_id=node, stage="explore", seeds=[seed])
        await experiments.start(tx, number)
        job = await experiments.order_job(
            tx, experiment_id=number, stage="explore", seed=seed, token="t", cpus=1, gpus=[]
        )
        run = Evaluation(
            experiment_id=number,
            stage="explore",
            seed=seed,
            outcome=Outcome.SCORED,
            reason="",
            score=1.0,
            metrics={"spread": value},
            limit=None,
            usage=ResourceUsage(),
            environment={},
            started_at=0.0,
            finished_at=0.0,
        )
        await experiments.settle_job(tx, job, run, {}, [])
        await experiments.finish(tx, number, Outcome.SCORED, "", 1.0)
        await nodes.set_score(tx, node, "explore", Mean(1.0, None, seed + 1))


async def test_a_metric_is_a_measure_and_its_mean_moves_the_node_as_seeds_come(desk):
    form = ArchiveForm((Measure("spread", "metric", 0.0, 10.0), Measure("complexity", "complexity", 0.0, 8.0)), 1, 10)
    kept = Archivist(desk, await desk.campaign(sampler="map_elites", sampling={"islands": 1}), form)
    await kept.catch_up()
    silent = await kept.add(1.0)
    node = await kept.add(None, "abcd")
    await evaluated(kept, node, 2.0, seed=0)
    await kept.catch_up()
    assert (await kept.place(node)).bins == (2, 5)
    await evaluated(kept, node, 7.0, seed=1)
    assert (await kept.place(node)).bins == (4, 5), "the mean is 4.5"
    await evaluated(kept, node, 99.0, seed=2)
    assert (await kept.place(node)).bins == (9, 5), "a fixed range has the rest at its edge"
    assert (await kept.place(silent)).bins is None, "its runs have not told it"
    await kept.check(measures=False)


async def test_an_older_campaign_gets_its_archive_from_what_is_stored_the_best_first(desk):
    campaign = await desk.campaign()
    kept = Archivist(desk, campaign)
    added = [await kept.add(float(score % 7), "ab\n" * (score + 1), is_baseline=score == 0) for score in range(30)]
    assert await desk.read.value("SELECT count(*) FROM islanders") == 0
    await appraisal.catch_up(kept.database, campaign, FORM, limit=5)
    rows = await kept.check()
    assert sorted(row["score"] for row in rows.values()) == [5.0, 6.0, 6.0, 6.0, 6.0]
    assert await archive.references(desk.read, campaign) == tuple(added[:10]), "the first that scored"
    while await appraisal.catch_up(kept.database, campaign, FORM, limit=5):
        await kept.check()
    assert {node for _, node in await kept.check()} == set(added)


async def test_other_islands_or_measures_make_another_archive_of_the_same_nodes(kept):
    added = [await kept.add(float(score), "ab\n" * (score + 1), is_baseline=score == 0) for score in range(9)]
    for form in (ArchiveForm(DEFAULT_MEASURES, 2, 4), ArchiveForm((Measure("diversity", "diversity"),), 4, 5)):
        assert await kept.catch_up(form) == 0
        rows = await kept.check(measures=form.measures == DEFAULT_MEASURES)
        assert {node for (_, node), row in rows.items() if row["is_home"]} == set(added)
        assert {island for island, _ in rows} == set(range(form.islands))


async def test_measures_taken_for_what_has_changed_meanwhile_are_not_stored(kept):
    first = await kept.add(1.0, is_baseline=True)
    second = await kept.add(2.0, "b\n", admit=False)
    stale = await appraisal.appraise(kept.read, kept.campaign, [second])
    third = await kept.add(3.0, "c\n")
    async with kept.database.transaction() as tx:
        await archive.admit(tx, stale)
    assert {node for _, node in await kept.check()} == {first, third}
    assert await kept.catch_up() == 0
    assert {node for _, node in await kept.check()} == {first, second, third}


async def drawn(kept, count, options=None, seed=0):
    """(island, node) of so many draws."""
    options = options or SamplingOptions(islands=3)
    result = []
    for number in range(count):
        async with kept.database.transaction() as tx:
            population = ScoredNodes(tx, kept.campaign, islands=3).top(options.population_cap)
            sampler = MapElites(options.exploration, options.exploitation)
            choice = (await sampler.choose(population, 1, random.Random(f"{seed}:{number}")))[0]
            await nodes.count_visit(tx, kept.campaign, choice.member.id, choice.island)
            await tx.execute("UPDATE draws SET drawn_at = 0")  # given up at once
        result.append((choice.island, choice.member.id))
    return result


async def test_islands_take_turns_and_one_that_nobody_has_settled_borrows(kept):
    baseline = await kept.add(0.0, is_baseline=True)
    assert await drawn(kept, 4) == [(0, baseline), (1, baseline), (2, baseline), (0, baseline)]
    child = await kept.add(1.0, "bb\n", [baseline], drawn_for=1)
    assert [node for _, node in await drawn(kept, 2)] == [child, child]  # draws 5 and 6: island 2 borrows from 1


async def test_the_shares_of_draws_are_those_of_the_options(kept):
    """Island 0 has one cell with an elite of 1.0 and 99 nodes behind it, all at 0."""
    elite = await kept.add(1.0, is_baseline=True)
    for _ in range(99):
        await kept.add(0.0, parents=[elite], drawn_for=0)
    for exploration, exploitation, expected in ((1.0, 0.0, 3), (0.0, 1.0, 300), (0.0, 0.0, 50), (0.5, 0.5, 151)):
        options = SamplingOptions(exploration=exploration, exploitation=exploitation)
        times = [node for _, node in await drawn(kept, 300, options)].count(elite)
        # By score the elite has 1 against 99 times 0.05.
        assert abs(times - expected) <= 4.5 * (expected * (1 - expected / 300)) ** 0.5 + 1e-9


async def test_the_population_cap_holds_on_the_islands_too(kept):
    first = await kept.add(0.0, is_baseline=True)
    added = [await kept.add(float(n), "ab\n" * (n + 1), [first], drawn_for=n % 3) for n in range(1, 30)]
    allowed = set(added[-4:])
    options = SamplingOptions(population_cap=4, exploration=1.0, exploitation=0.0)
    assert {node for _, node in await drawn(kept, 90, options)} == allowed


def lived(root, campaign, seed, steps):
    """A writer that is killed after so many steps, or goes on to the end; how it ended."""
    command = [sys.executable, WRITER, root, campaign, 10_000, seed]
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE) as writer:
        while writer.stdout.readline():
            if steps is not None and (steps := steps - 1) == 0:
                time.sleep(0.01 * (seed % 4))  # anywhere in the next step
                writer.kill()
                break
    return writer.returncode


@pytest.mark.slow
async def test_ten_thousand_adds_with_the_process_killed_in_between_leave_archive_and_nodes_consistent(desk, workspace):
    options = {"islands": 5, "bins": 10, "migration_every": 10}
    campaign = await desk.campaign(sampler="map_elites", sampling=options)
    rng = random.Random(4)
    for life in range(8):
        steps = rng.randint(8, 25) if life < 7 else None
        assert await asyncio.to_thread(lived, workspace.paths.root, campaign, life, steps) == (-9 if steps else 0)
        await truth.check(desk.read, campaign, measures=False)
    assert await desk.read.value("SELECT count(*) FROM nodes") == 10_000
    assert await appraisal.queue_length(desk.read, campaign) == 0
    rows = await truth.check(desk.read, campaign)
    assert sum(not row["is_home"] for row in rows.values()) > 100, "hardly anybody has migrated"
    drawn = await desk.read.value("SELECT samples_drawn FROM campaigns")
    assert await desk.read.value("SELECT sum(visits) FROM nodes") == drawn
    assert await desk.read.value("SELECT count(*) FROM draws") == drawn


async def test_a_node_that_comes_home_from_another_campaign_before_its_own_archive_is_built_anew_has_one_place(desk):
    options = {"islands": 1, "bins": 4, "migration_every": 1, "migration_rate": 1.0, "exchange": True}
    form = ArchiveForm(DEFAULT_MEASURES, 1, 4)
    own, other = [Archivist(desk, await desk.campaign(sampler="map_elites", sampling=options), form) for _ in range(2)]
    async with desk.workspace.transaction() as tx:
        for kept in (own, other):
            await campaigns.set_program(tx, kept.campaign, "together")
    for kept in (own, other):
        await kept.catch_up()
    node = await own.add(2.0, "ab\n" * 5, is_baseline=True)
    assert await other.catch_up() == 0
    async with desk.workspace.transaction() as tx:
        await archive.ensure(tx, own.campaign, ArchiveForm((Measure("diversity", "diversity"),), 1, 4))
    await other.add(1.0, "b\n" * 90, is_baseline=True)
    assert {
        row["node_id"]: row["is_home"]
        for row in await desk.read.all("SELECT node_id, is_home FROM islanders WHERE campaign_id = ?", (own.campaign,))
    }[node] == 0, "an elite of the other one that came back"
    assert await own.catch_up(ArchiveForm((Measure("diversity", "diversity"),), 1, 4)) == 0
    rows = await own.check(measures=False)
    assert rows[0, node]["is_home"] == 1


async def test_others_write_while_an_older_campaign_gets_its_archive(desk):
    campaign = await desk.campaign()
    kept = Archivist(desk, campaign)
    for score in range(3 * appraisal.AT_ONCE):
        await kept.add(float(score), "ab\n" * (score % 7 + 1), is_baseline=score == 0)
    async with kept.database.transaction() as tx:
        await archive.ensure(tx, campaign, FORM)
    catching_up = asyncio.create_task(kept.catch_up())
    seen = set()
    while not catching_up.done():
        async with kept.database.transaction() as tx:
            seen.add(await appraisal.queue_length(tx, campaign))
            await asyncio.sleep(0)
    assert await catching_up == 0
    assert {2 * appraisal.AT_ONCE, appraisal.AT_ONCE} <= seen
    await kept.check()
