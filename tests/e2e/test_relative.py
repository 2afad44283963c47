"""A score relative to the baseline, as an agent sees it from the domain's list to a second campaign."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import Client

from .conftest import call

RIVAL_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "rival"


def rival(loss, cost=1.0):
    return f"def measure(seed, stage):\n    return {{'loss': {loss}, 'cost': {cost}}}\n"


def cached_domain(tmp_path):
    folder = Path(shutil.copytree(RIVAL_DOMAIN, tmp_path / "rival"))
    spec = (folder / "domain.toml").read_text()
    (folder / "domain.toml").write_text(spec.replace("wall_seconds = 60\n", "wall_seconds = 60\ncache = true\n"))
    return str(folder)


async def search(client, domain):
    """A campaign with a better candidate, which is ordered before the baseline has run; (answers)."""
    started = await call(client, "start_campaign", domain=domain)
    order = {"campaign": started["campaign"], "name": "n", "motivation": "m", "code": rival(0.8), "wait_s": 0}
    ordered = await call(client, "run_experiment", **order)
    result = await call(client, "wait_experiment", experiments=[ordered["experiment"]], wait_s=45)
    return started, result


def test_an_agent_sees_what_a_score_is_relative_to_and_where_a_cached_one_comes_from(lab, tmp_path):
    domain = cached_domain(tmp_path)

    async def run():
        async with Client(lab.stdio()) as client:
            shown = (await call(client, "list_domains", domain=domain))["domain"]
            assert shown["fitness"] == "maximize score, relative to the baseline"
            assert shown["relative"]["terms"]["loss"]["direction"] == "minimize"
            assert [stage.get("baseline_seeds") for stage in shown["stages"]] == [None, 3, 2, 2]
            started, result = await search(client, domain)
            assert result["outcome"] == "scored", result
            assert result["score"] == pytest.approx(0.7310585786)
            assert result["relative_to"]["loss"] == {"mean": 1.0, "sd": 0.1, "seeds": 3}
            baseline = await call(client, "get_node", node=started["baseline"]["node"])
            assert (baseline["score"], baseline["seeds"]) == (pytest.approx(0.5), 3)
            assert baseline["standard_error"] > 0
            status = await call(client, "campaign_status", campaign=started["campaign"])
            assert status["best"][0]["id"] == result["node"]
            gained = await call(client, "compare_nodes", a=started["baseline"]["node"], b=result["node"])
            assert gained["metric_changes"]["loss"] < 0

            _, again = await search(client, domain)
            assert again["score"] == result["score"]
            node = await call(client, "get_node", node=again["node"])
            assert [entry["cached_from"] for entry in node["runs"]] == [result["experiment"]] * 2
            assert {entry["cpu_s"] for entry in node["runs"]} == {0.0}
            assert node["relative_to"] == result["relative_to"]

    asyncio.run(run())
    shown = subprocess.run(
        [sys.executable, "-I", "-m", "asi_evolve.server.cli", "verify", "n4", "--rerun", "--workspace", str(lab.root)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    exported = tmp_path / "exported"
    command = [sys.executable, "-I", "-m", "asi_evolve.server.cli", "export", "c2", str(exported)]
    subprocess.run([*command, "--workspace", str(lab.root)], check=True, timeout=120, capture_output=True)
    told = [json.loads(line) for line in (exported / "nodes.jsonl").read_text().splitlines()]
    assert told[0]["is_baseline"]
    known = json.loads((exported / "baseline.json").read_text())["explore"]["loss"]
    assert (known["mean"], known["by_seed"]) == (pytest.approx(1.0), {"0": 0.9, "1": 1.0, "2": 1.1})


def test_a_campaign_whose_baseline_cannot_be_measured_says_so(lab, tmp_path):
    folder = Path(cached_domain(tmp_path))
    (folder / "baseline" / "rival.py").write_text("def measure(seed, stage):\n    return {'loss': 1 / (seed - 1)}\n")

    async def run():
        async with Client(lab.stdio()) as client:
            started, result = await search(client, str(folder))
            assert result["outcome"] == "infrastructure_error"
            baseline = started["baseline"]
            assert f"{baseline['experiment']} ended as" in result["reason"]
            assert f"promote_node(node='{baseline['node']}', stage='explore')" in result["reason"]

    asyncio.run(run())
