"""Runs that are answered from earlier ones: when they are, when they are not, and what is seen of it."""

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest
from asi_evolve.database import baselines, experiments, nodes
from asi_evolve.database.workspace import open_workspace
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.early_stop import Reference, StopRule
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.interpreter import describe_interpreter
from asi_evolve.sandbox.isolation.choice import find_isolation
from asi_evolve.sandbox.jobs import JobFolder
from asi_evolve.sandbox.measuring import Comparison
from asi_evolve.sandbox.preparation import Grant, lay_down_job
from asi_evolve.sandbox.provenance import DataFingerprints, known_before
from asi_evolve.sandbox.result_cache import key_of, machine
from asi_evolve.sandbox.verification import verify

from .test_measuring import RIVAL_DOMAIN, at_work, finished, of_baseline, order, program, runs, start

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("isolation")]

MACHINE = {"cpu": "A processor", "gpus": "", "platform": "Linux"}


@pytest.fixture
async def workspace(tmp_path):
    async with open_workspace(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def domain(tmp_path):
    """The rival domain with `cache` at every stage."""
    folder = Path(shutil.copytree(RIVAL_DOMAIN, tmp_path / "rival"))
    change(folder, "domain.toml", "wall_seconds = 60\n", "wall_seconds = 60\ncache = true\n")
    return folder


def change(folder, file, old, new):
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return folder


async def ran(workspace, number):
    """(stage, seed) to the experiment that answered it, of all runs of an experiment."""
    return {(run.stage, run.seed): run.cached_from for run in await runs(workspace, number)}


async def search(workspace, domain, files, seeds=(0,)):
    """A campaign with a baseline and one candidate, both ended; (candidate's experiment, baseline's)."""
    campaign, _ = await start(workspace, domain)
    number, _ = await order(workspace, campaign, files, seeds=seeds)
    async with at_work(workspace):
        await finished(workspace, number)
    return number, (await of_baseline(workspace, campaign))[0].id


async def test_a_second_campaign_is_answered_at_once_and_scores_the_same(workspace, domain):
    first, first_baseline = await search(workspace, domain, program(0.8))
    second, second_baseline = await search(workspace, domain, program(0.8))
    assert set((await ran(workspace, first)).values()) == {None}
    assert set((await ran(workspace, first_baseline)).values()) == {None}
    assert set((await ran(workspace, second)).values()) == {first}
    assert set((await ran(workspace, second_baseline)).values()) == {first_baseline}
    found = [await experiments.get(workspace.read, number) for number in (first, second)]
    assert found[0].score == found[1].score is not None
    for run in await runs(workspace, second):
        assert (run.usage.cpu_seconds, run.usage.wall_seconds, run.outcome) == (0.0, 0.0, Outcome.SCORED)
        assert run.environment["harness_sha256"]
    campaigns = [entry.campaign_id for entry in found]
    known = [await baselines.statistics(workspace.read, campaign, "explore") for campaign in campaigns]
    assert known[0] == known[1]
    assert not list(workspace.paths.jobs.iterdir())


async def test_what_the_first_run_left_is_reached_from_the_second(workspace, domain):
    change(domain, "harness.py", "job = sys.argv[1]\n", "job = sys.argv[1]\nprint('hello')\n")
    first, _ = await search(workspace, domain, program(0.8))
    second, _ = await search(workspace, domain, program(0.8))
    kept = []
    for number in (first, second):
        stored = (await experiments.evaluations(workspace.read, [number]))[-1]
        assert (await experiments.log(workspace.read, stored.id))["stdout"] == "hello\n"
        kept.append([(f.name, f.sha256) for f in await experiments.artifacts(workspace.read, stored.id)])
        assert workspace.artifacts.read(kept[-1][0][1])
    assert kept[0] == kept[1] != []


async def test_a_third_run_names_the_one_that_really_ran(workspace, domain):
    first, _ = await search(workspace, domain, program(0.8))
    await search(workspace, domain, program(0.8))
    third, _ = await search(workspace, domain, program(0.8))
    assert set((await ran(workspace, third)).values()) == {first}


async def test_without_the_stages_word_everything_runs(workspace):
    await search(workspace, RIVAL_DOMAIN, program(0.8))
    second, _ = await search(workspace, RIVAL_DOMAIN, program(0.8))
    assert set((await ran(workspace, second)).values()) == {None}


async def test_only_seeds_that_have_run_are_answered(workspace, domain):
    first, _ = await search(workspace, domain, program(0.8))
    second, _ = await search(workspace, domain, program(0.8), seeds=(0, 1))
    assert await ran(workspace, second) == {("check", 0): first, ("explore", 0): first, ("explore", 1): None}


async def test_failures_are_run_again(workspace, domain):
    for _ in range(2):
        number, _ = await search(workspace, domain, program("1 / 0 if stage == 'explore' else 1.0"))
        last = (await runs(workspace, number))[-1]
        assert (last.stage, last.outcome, last.cached_from) == ("explore", Outcome.CANDIDATE_ERROR, None)


async def test_where_a_file_of_the_first_run_is_gone_it_runs_again(workspace, domain):
    first, _ = await search(workspace, domain, program(0.8))
    shutil.rmtree(workspace.paths.root / "artifacts")
    second, _ = await search(workspace, domain, program(0.8))
    assert set((await ran(workspace, second)).values()) == {None}
    assert first != second


async def test_a_changed_evaluator_runs_again(workspace, domain):
    await search(workspace, domain, program(0.8))
    change(domain, "evaluator.py", "import json\n", "import json  # strict\n")
    second, _ = await search(workspace, domain, program(0.8))
    assert set((await ran(workspace, second)).values()) == {None}


async def test_verify_runs_afresh(workspace, domain):
    await search(workspace, domain, program(0.8))
    second, _ = await search(workspace, domain, program(0.8))
    node = (await experiments.get(workspace.read, second)).node_id
    report = await verify(workspace, node, rerun=True, gpus=())
    assert report.standing == "stands", report.text
    change(domain, "harness.py", "import json\n", "import json\nraise SystemExit(3)\n")
    report = await verify(workspace, node, rerun=True, gpus=())
    assert report.standing == "does_not_stand", "an answer from the cache would have hidden it"
    assert await nodes.get(workspace.read, node)


@pytest.fixture(scope="module")
def granted():
    interpreter = describe_interpreter(sys.executable, ())
    return Grant(find_isolation(interpreter, "unconfined"), interpreter, 1, (), seed_key=b"k" * 32)


@pytest.fixture
def key(tmp_path, granted):
    """The key of a job; each part of what it hangs on can be another."""

    def make(domain=RIVAL_DOMAIN, stage="explore", seed=0, files=None, instance=None, computed_by=MACHINE, **options):
        loaded = load_domain(domain)
        files = files or {"rival.py": "pass\n"}
        folder = JobFolder(tmp_path / "job")
        lay_down_job(
            folder,
            domain=loaded,
            instance=instance,
            stage=loaded.spec.stage(stage),
            seed=seed,
            files=files,
            provenance=known_before(loaded, DataFingerprints()),
            **{"token": "t", "grant": granted} | options,
        )
        return key_of(folder.read_spec(), folder.params.read_text(), files, computed_by)

    return make


def test_what_decides_nothing_is_not_in_the_key(key, granted):
    assert key() == key(token="another", grant=dataclasses.replace(granted, groups=Path("/sys/fs/cgroup/x")))
    assert len(key()) == 64


@pytest.mark.parametrize(
    "other",
    [
        {"files": {"rival.py": "pass \n"}},
        {"files": {"rival.py": "pass\n", "more.py": ""}},
        {"seed": 1},
        {"stage": "deep"},
        {"computed_by": MACHINE | {"cpu": "Another processor"}},
        {"computed_by": MACHINE | {"gpus": "H200"}},
        {"computed_by": MACHINE | {"platform": "Linux 7"}},
        {"comparison": Comparison(is_baseline=True)},
        {"comparison": Comparison(baseline={"loss": {"mean": 1.0, "sd": 0.1, "seeds": 3}})},
        {"stop_rules": (StopRule("above_baseline", at=0.5, metric="loss", k=3, reference=Reference(1.0, 0.1, 3)),)},
    ],
    ids=str,
)
def test_what_differs_between_two_jobs_is_in_the_key(key, other):
    assert key(**other) != key()


@pytest.mark.parametrize("part", ["versions", "cpus", "seed_key"])
def test_what_is_granted_is_in_the_key(key, granted, part):
    interpreter = dataclasses.replace(granted.interpreter, versions=granted.interpreter.versions | {"torch": "9"})
    other = {"versions": {"interpreter": interpreter}, "cpus": {"cpus": 2}, "seed_key": {"seed_key": b"l" * 32}}
    assert key(grant=dataclasses.replace(granted, **other[part])) != key()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("evaluator.py", "import json\n", "import json \n"),
        ("harness.py", "import json\n", "import json \n"),
        ("domain.toml", 'version = "1"', 'version = "2"'),
        ("domain.toml", "memory_mb = 200", "memory_mb = 201"),
        ("domain.toml", '\n[[stages]]\nname = "explore"', '\n[instances.a]\nn = 1\n\n[[stages]]\nname = "explore"'),
        ("data/train/points.txt", "1", "2"),
        ("data/hidden/labels.txt", "1", "2"),
    ],
)
def test_what_the_domain_is_made_of_is_in_the_key(key, tmp_path, file, old, new):
    folder = Path(shutil.copytree(RIVAL_DOMAIN, tmp_path / "rival"))
    for name in ("data/train/points.txt", "data/hidden/labels.txt"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("1")
    before = key(domain=folder)
    assert key(domain=folder) == before
    change(folder, file, old, new)
    assert key(domain=folder) != before


def test_parameters_and_instances_are_in_the_key(key, tmp_path):
    folder = Path(shutil.copytree(RIVAL_DOMAIN, tmp_path / "rival"))
    spec = (folder / "domain.toml").read_text()
    named = "".join(f"\n[instances.{name}]\nn = {n}\n" for name, n in (("a", 1), ("b", 1), ("c", 2)))
    (folder / "domain.toml").write_text(spec + named)
    assert len({key(domain=folder, instance=name) for name in "abc"}) == 3


def test_the_machine_is_told_by_what_computes():
    assert machine(())["cpu"]
    assert machine(())["gpus"] == ""
