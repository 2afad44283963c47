"""A campaign on rl_algorithm from end to end, driven over MCP by a script in place of an agent.

Six changes of GRPO: one divides by zero, one takes minutes where milliseconds are due. Each result is analysed and
leaves a lesson; the best goes to `verify_bed` with paired seeds, and the difference from the baseline is told with its
interval. Over GRPO itself that interval is expected to hold 0: the changes that run are published, and this bed does
not tell them apart. What it prints is one JSON object.
By hand: `python benchmarks/rl_algorithm_campaign.py` (half an hour; `--domain FOLDER` for a shorter
copy of the domain).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from asi_evolve.domains.loader import find_domain
from mcp import Client, StdioServerParameters

WAIT_S = 45
NORMALISED = "    return (centred / (groups.std(dim=1, keepdim=True) + EPSILON)).flatten()\n"
CANDIDATES: tuple[dict[str, Any], ...] = (
    {
        "name": "clip higher",
        "motivation": "A wider upper bound of the ratio leaves room for tokens that are still rare (DAPO, arXiv "
        "2503.14476).",
        "edit": ("ratio.clamp(1 - CLIP, 1 + CLIP)", "ratio.clamp(1 - CLIP, 1.28)"),
    },
    {
        "name": "no epsilon",
        "motivation": "Normalise by the deviation of the group alone. (Broken: groups that agree divide by 0.)",
        "edit": (NORMALISED, "    return (centred / groups.std(dim=1, keepdim=True)).flatten()\n"),
    },
    {
        "name": "no deviation",
        "motivation": "Dividing by the deviation of a group favours prompts that are nearly solved or nearly hopeless "
        "(Dr. GRPO, arXiv 2503.20783).",
        "edit": (NORMALISED, "    return centred.flatten()\n"),
    },
    {
        "name": "sampled orders",
        "motivation": "Weigh samples by how often they come first in random orders of the minibatch. (Broken: pure "
        "Python, far too slow.)",
        "edit": (
            "    advantages = advantages.unsqueeze(1)\n",
            "    import random\n\n"
            "    order, first = list(range(len(logp))), torch.zeros(len(logp))\n"
            "    for _ in range(100_000):\n"
            "        random.shuffle(order)\n"
            "        first[order[0]] += len(logp) / 100_000\n"
            "    advantages = (advantages * first).unsqueeze(1)\n",
        ),
    },
    {
        "name": "ratio of sequences",
        "motivation": "Rewards belong to sequences, so ratios should too: the geometric mean over the tokens (GSPO, "
        "arXiv 2507.18071).",
        "edit": (
            "    ratio = torch.exp(logp - old_logp)\n",
            "    length = mask.sum(dim=1, keepdim=True)\n"
            "    gap = ((logp - old_logp) * mask).sum(dim=1, keepdim=True) / length\n"
            "    ratio = torch.exp(gap).expand_as(logp)\n",
        ),
    },
    {
        "name": "mean over tokens",
        "motivation": "Every token of the minibatch counts the same, so that long answers do not dilute theirs "
        "(DAPO, arXiv 2503.14476).",
        "edit": ("(per_token.sum(dim=1) / mask.sum(dim=1)).mean()", "per_token.sum() / mask.sum()"),
    },
)


class CampaignFailed(Exception):
    """A tool refused, or an experiment that has to score did not."""


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """A tool's structured answer; raises CampaignFailed with its words where it has none."""
    result = await client.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        raise CampaignFailed(f"{tool}: {result.content}")
    return result.structured_content


async def finished(client: Client, experiment: str) -> dict[str, Any]:
    """The result of an experiment, however long it takes."""
    while True:
        result = await call(client, "wait_experiment", experiments=[experiment], wait_s=WAIT_S)
        if result["status"] == "finished":
            return result


def program_of(candidate: dict[str, Any]) -> str:
    """GRPO as the domain has it, with one change."""
    grpo = find_domain("rl_algorithm").baseline["algorithm.py"]
    old, new = candidate["edit"]
    if grpo.count(old) != 1:
        raise CampaignFailed(f"Expected GRPO to hold {old!r} once, but it does so {grpo.count(old)} times.")
    return grpo.replace(old, new)


async def one_round(client: Client, campaign: str, parent: str, candidate: dict[str, Any]) -> dict[str, Any]:
    """Learn, design, experiment, analyze."""
    await call(client, "sample_nodes", campaign=campaign)
    found = await call(client, "search_cognition", campaign=campaign, query=candidate["motivation"])
    ordered = await call(
        client,
        "run_experiment",
        campaign=campaign,
        name=candidate["name"],
        motivation=candidate["motivation"],
        parents=[parent],
        inspired_by=[item["id"] for item in found["items"][:1]],
        code=program_of(candidate),
        wait_s=0,
    )
    result = await finished(client, ordered["experiment"])
    await call(
        client,
        "record_analysis",
        node=result["node"],
        report=f"{candidate['motivation']} It ended as {result['outcome']}. {result.get('reason', '')}",
        lessons=[f"{candidate['name']}: {_learnt(result)}"],
    )
    return result


def _learnt(result: dict[str, Any]) -> str:
    """What an honest analyst takes from a result: a gain only where the interval says so."""
    if result.get("score") is None:
        return result["reason"][:200]
    metrics = _metrics(result)
    low, high = metrics.get("gain_low"), metrics.get("gain_high")
    if low is None or high is None:
        return f"gain {result['score']:+.3f}, no interval."
    seen = "better than the baseline" if low > 0 else "worse than the baseline" if high < 0 else "no difference seen"
    return f"gain {result['score']:+.3f} ({low:+.3f} to {high:+.3f}): {seen}."


async def campaign(client: Client, domain: str, seeds: int) -> dict[str, Any]:
    """The whole; the returned object is what a reader wants to see of it."""
    started = await call(client, "start_campaign", domain=domain)
    number, origin = started["campaign"], started["baseline"]["node"]
    baseline = await finished(client, started["baseline"]["experiment"])
    results = [await one_round(client, number, origin, candidate) for candidate in CANDIDATES]
    best = max((result for result in results if result.get("score") is not None), key=lambda result: result["score"])
    for node in (origin, best["node"]):
        promoted = await call(client, "promote_node", node=node, stage="verify_bed", seeds=seeds, wait_s=0)
        result = await finished(client, promoted["experiment"])
        if result["outcome"] != "scored":
            raise CampaignFailed(f"verify_bed of {node}: {result}")
    compared = await call(client, "compare_nodes", a=origin, b=best["node"])
    status = await call(client, "campaign_status", campaign=number)
    return {
        "baseline": _short(baseline),
        "candidates": {
            candidate["name"]: _short(result) for candidate, result in zip(CANDIDATES, results, strict=True)
        },
        "promoted": best["node"],
        "verified": _short(result),
        "comparison": {name: value for name, value in compared.items() if name not in ("diff", "next")},
        "lessons": status.get("lessons"),
    }


def _metrics(result: dict[str, Any]) -> dict[str, float]:
    """Of the run that scored, which is the last; none where there were too many to tell each in full."""
    return result["runs"][-1].get("metrics", {}) if result["outcome"] == "scored" else {}


def _short(result: dict[str, Any]) -> dict[str, Any]:
    told = {name: result[name] for name in ("node", "outcome", "score", "reason") if name in result}
    return told | {"metrics": _metrics(result)}


async def main() -> None:
    """Run it on a server of its own, in a workspace of its own unless one is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domain", default="rl_algorithm", help="name, or path of a folder")
    parser.add_argument("--seeds", type=int, default=8, help="paired seeds at verify_bed, default 8")
    parser.add_argument("--workspace", help="where it is kept; default: nowhere")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Path(options.workspace or temporary)
        server = StdioServerParameters(
            command=sys.executable,
            args=["-I", "-m", "asi_evolve.server.cli", "serve", "--workspace", str(workspace)],
            env={"ASI_EVOLVE_IDLE_SECONDS": "5"},
        )
        try:
            async with Client(server) as client:
                print(json.dumps(await campaign(client, options.domain, options.seeds), indent=1))
        except* CampaignFailed as failed:
            sys.exit(str(failed.exceptions))


if __name__ == "__main__":
    asyncio.run(main())
