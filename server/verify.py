"""Checks the score of a node from the command line, and prints what was found."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import asdict

from ..database.workspace import open_workspace
from ..evolution.ids import parse_id, short_id
from ..sandbox.provenance import Difference
from ..sandbox.verification import TOLERANCE, Check, Report, verify
from .export import existing_workspace
from .settings import Settings

SHOWN_OF_HASH = 12


async def verify_node(settings: Settings, node: str, *, rerun: bool, as_json: bool) -> int:
    """Print whether a node's score stands; the exit status is 0 only where it does.

    Raises:
        NotFound: there is no such workspace or node.
        BadInput: the node has no score.
    """
    task = asyncio.current_task()
    if task is not None:
        # The handler of asyncio.run runs when the main thread wakes, which it does not where another thread takes the
        # signal; this one wakes it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    async with open_workspace(existing_workspace(settings.home)) as workspace:
        report = await verify(
            workspace,
            parse_id(node, "n"),
            rerun=rerun,
            gpus=settings.gpu_devices(),
            minimum=settings.sandbox_minimum,
        )
    if as_json:
        fields = asdict(report) | {"node": short_id("n", report.node_id), "tolerance": TOLERANCE}
        if report.node_score is None:
            del fields["node_score"]
        print(json.dumps(fields, indent=1))
    else:
        _print(report)
    return 0 if report.standing == "stands" else 1


def _print(report: Report) -> None:
    print(f"{short_id('n', report.node_id)}: {report.text}")
    for check in report.checks:
        print(f"  {_line(check, report.stage)}")
    if report.differences:
        print("Not as it was when it scored:")
    for difference in report.differences:
        print(f"  {_changed(difference)}")
    print(f"Scores count as equal within {TOLERANCE:g} of their size.")


def _line(check: Check, stage: str) -> str:
    what = "run again" if check.rerun else "judged again"
    return f"e{check.experiment_id} {stage}, seed {check.seed}, {what}: {check.text}"


def _changed(difference: Difference) -> str:
    name, before, after = difference
    if not name.endswith("_sha256"):
        return f"{name}: {before}, now {after}"
    return f"{name.removesuffix('_sha256')}: hash {before[:SHOWN_OF_HASH]}, now {after[:SHOWN_OF_HASH]}"
