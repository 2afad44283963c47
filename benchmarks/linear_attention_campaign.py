"""A campaign on linear_attention from end to end, driven over MCP by a script in place of an agent.

Six changes of DeltaNet, two of them broken; each result is analysed and leaves a lesson; the best goes to `verify` with
paired seeds, and the difference from the baseline is told with its interval. What it prints is one JSON object.
By hand: `python benchmarks/linear_attention_campaign.py` (an hour or more of `verify`; `--domain FOLDER` for a shorter
copy of the domain).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from typing import Any

from asi_evolve.domains.loader import find_domain
from mcp import Client, StdioServerParameters

WAIT_S = 45
CANDIDATES: tuple[dict[str, Any], ...] = (
    {
        "name": "negative eigenvalues",
        "motivation": "With beta in (0, 2) a step can reflect what is stored under a key instead of only erasing it "
        "(arXiv 2411.12537).",
        "edit": ("self.b_proj(hidden_states).sigmoid()", "2 * self.b_proj(hidden_states).sigmoid()"),
    },
    {
        "name": "output gate",
        "motivation": "A gate on what is read lets a token ignore the memory.",
        "edit": (
            'o = self.o_proj(rearrange(self.o_norm(o), "b t h d -> b t (h d)"))',
            "gate = nn.functional.silu(self.v_proj(hidden_states))\n"
            '        o = self.o_proj(gate * rearrange(self.o_norm(o), "b t h d -> b t (h d)"))',
        ),
    },
    {
        "name": "leak",
        "motivation": "The mean of all tokens as context. (Broken: it sees the future.)",
        "edit": ("self.q_proj(hidden_states), self", "self.q_proj(hidden_states + hidden_states.mean(1, True)), self"),
    },
    {
        "name": "wider keys",
        "motivation": "Keys of twice the width: a state twice as large, with less interference; the MLP pays for it.",
        "edit": ("expand_k: float = 1.0", "expand_k: float = 2.0"),
    },
    {
        "name": "shorter answer",
        "motivation": "Leave out the last token. (Broken: the shape.)",
        "edit": ("return o, None, past_key_values", "return o[:, :-1], None, past_key_values"),
    },
    {
        "name": "no convolutions inside",
        "motivation": "The skeleton has a short convolution already; do those of q, k and v add anything?",
        "edit": ("use_short_conv: bool = True", "use_short_conv: bool = False"),
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


async def one_round(
    client: Client, campaign: str, parent: str, program: str, candidate: dict[str, Any]
) -> dict[str, Any]:
    """Learn, design, experiment, analyze."""
    await call(client, "sample_nodes", campaign=campaign)
    found = await call(client, "search_cognition", campaign=campaign, query=candidate["motivation"])
    old, new = candidate["edit"]
    if program.count(old) != 1:
        raise CampaignFailed(f"Expected the baseline to hold {old!r} once, but it does so {program.count(old)} times.")
    ordered = await call(
        client,
        "run_experiment",
        campaign=campaign,
        name=candidate["name"],
        motivation=candidate["motivation"],
        parents=[parent],
        inspired_by=[item["id"] for item in found["items"][:1]],
        code=program.replace(old, new),
        wait_s=0,
    )
    result = await finished(client, ordered["experiment"])
    score = result.get("score")
    lesson = f"{candidate['name']}: " + (f"score {score:.3f}." if score is not None else result["reason"][:200])
    await call(
        client,
        "record_analysis",
        node=result["node"],
        report=f"{candidate['motivation']} It ended as {result['outcome']}. {result.get('reason', '')}",
        lessons=[lesson],
    )
    return result


async def campaign(client: Client, domain: str, seeds: int) -> dict[str, Any]:
    """The whole; the returned object is what a reader wants to see of it."""
    started = await call(client, "start_campaign", domain=domain)
    program = find_domain(domain).baseline["mixer.py"]
    number, origin = started["campaign"], started["baseline"]["node"]
    baseline = await finished(client, started["baseline"]["experiment"])
    results = [await one_round(client, number, origin, program, candidate) for candidate in CANDIDATES]
    best = max((result for result in results if result.get("score") is not None), key=lambda result: result["score"])
    for node in (origin, best["node"]):
        promoted = await call(client, "promote_node", node=node, stage="verify", seeds=seeds, wait_s=0)
        result = await finished(client, promoted["experiment"])
        if result["outcome"] != "scored":
            raise CampaignFailed(f"verify of {node}: {result}")
    compared = await call(client, "compare_nodes", a=origin, b=best["node"])
    status = await call(client, "campaign_status", campaign=number)
    return {
        "baseline": _short(baseline),
        "candidates": {
            candidate["name"]: _short(result) for candidate, result in zip(CANDIDATES, results, strict=True)
        },
        "promoted": best["node"],
        "comparison": {name: value for name, value in compared.items() if name not in ("diff", "next")},
        "lessons": status.get("lessons"),
    }


def _short(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ("node", "outcome", "score", "reason", "metrics") if name in result}


async def main() -> None:
    """Run it on a server of its own, in a workspace of its own unless one is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domain", default="linear_attention", help="name, or path of a folder")
    parser.add_argument("--seeds", type=int, default=3, help="paired seeds at verify, default 3")
    parser.add_argument("--workspace", help="where it is kept; default: nowhere")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        server = StdioServerParameters(
            command=sys.executable,
            args=["-I", "-m", "asi_evolve.server.cli", "serve", "--workspace", options.workspace or temporary],
            env={"ASI_EVOLVE_IDLE_SECONDS": "5"},
        )
        try:
            async with Client(server) as client:
                print(json.dumps(await campaign(client, options.domain, options.seeds), indent=1))
        except* CampaignFailed as failed:
            sys.exit(str(failed.exceptions))


if __name__ == "__main__":
    asyncio.run(main())
