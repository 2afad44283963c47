"""Trusted: logits for held-out questions -> metrics.json, curves.svg, table.svg, comparison.json, or one sentence.

Scores stand on the answers in hidden/, which no process of a candidate has seen. report.json comes from a process that
the candidate ran in: it can refuse the candidate, and its figures are bounded, held against the audit, and otherwise
told as claims. At stage check nothing was trained: a report without a refusal is all there is, and `score` is 0. By
hand: `python evaluator.py JOB_FOLDER`.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from judging import accuracy
from judging.audit import Audit, Hidden, audit, check_claim, check_twins, read_hidden
from judging.comparison import Comparison, compare, read_baseline
from judging.drawing import draw_curves, draw_table
from judging.forms import Refusal, Report, read_predictions, read_report

LANGUAGE_MODEL = "lm"
REPORTED = ("30", "60", "100")
"""Checkpoints whose losses are metrics of their own, in percent of the training; comparison.json has all."""

Audits = dict[str, dict[str, Audit]]
"""Task -> checkpoint in percent -> what was found."""


def main() -> None:
    """Evaluate one job folder."""
    job = Path(sys.argv[1] if len(sys.argv) > 1 else "/job")
    params = json.loads((job / "params.json").read_text())
    (job / "result" / "metrics.json").write_text(json.dumps(judge(job, params), indent=1, allow_nan=False))


def judge(job: Path, params: dict[str, Any]) -> dict[str, Any]:
    """What goes into metrics.json: the metrics, or the sentence that says why there are none."""
    try:
        return {"metrics": evaluate(job, params)}
    except Refusal as refusal:
        return {"invalid": str(refusal)}


def evaluate(job: Path, params: dict[str, Any]) -> dict[str, float]:
    """The metrics, with the artifacts written; raises Refusal."""
    tasks = str(params["parameters"]["tasks"]).split()
    checkpoints = str(params["parameters"].get("checkpoints", "30 60 100")).split()
    report = read_report(job / "outputs" / "report.json", tasks, checkpoints)
    hidden = {task: read_hidden(job / "hidden" / f"{task}.npz") for task in tasks}
    audits = _audit_all(job / "outputs" / "predictions.npz", hidden, checkpoints, report) if tasks else {}
    metrics = {**_claimed(report), **_measured(audits, hidden, report)} if tasks else {**_claimed(report), "score": 0.0}
    tables: dict[str, dict[str, float]] = {}
    if params["parameters"].get("downstream"):
        try:
            tables = accuracy.judge(job)
        except ValueError as error:
            raise Refusal(f"downstream: {error}") from error
        metrics["downstream_accuracy"] = math.fsum(table["acc_norm"] for table in tables.values()) / len(tables)
    baseline = read_baseline(params.get("baseline"))
    rows = compare(metrics, baseline)
    _leave_artifacts(job / "result", params, report, audits, rows, tables)
    return metrics


def _audit_all(path: Path, hidden: dict[str, Hidden], checkpoints: list[str], report: Report) -> Audits:
    if not path.is_file():
        raise Refusal("predictions: Expected predictions.npz, but there is none.")
    shapes = {f"{task}@{at}": answers.shape for task, answers in hidden.items() for at in checkpoints}
    logits = read_predictions(path, shapes)
    audits: Audits = {}
    for task, answers in hidden.items():
        audits[task] = {at: audit(logits[f"{task}@{at}"], answers) for at in checkpoints}
        for at, audited in audits[task].items():
            check_twins(f"{task} at {at} %", audited, report.precision)
            check_claim(f"{task} at {at} %", audited, report.claims[task].losses[at], task == LANGUAGE_MODEL)
    return audits


def _claimed(report: Report) -> dict[str, float]:
    warned = sum(finding.verdict in ("warning", "flagged") for finding in report.findings)
    return {**report.numbers, "warnings": float(warned)}


def _measured(audits: Audits, hidden: dict[str, Hidden], report: Report) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for task, by_checkpoint in audits.items():
        last = by_checkpoint[max(by_checkpoint, key=float)]
        metrics[f"{task}_loss"] = math.fsum(found.loss for found in by_checkpoint.values()) / len(by_checkpoint)
        metrics |= {f"{task}_loss_{at}": by_checkpoint[at].loss for at in REPORTED if at in by_checkpoint}
        metrics[f"{task}_accuracy"] = last.accuracy
        if task == LANGUAGE_MODEL:
            metrics["lm_bpb"] = last.loss / math.log(2) / hidden[task].bytes_per_token
    everything = [(task, at, found) for task, found_at in audits.items() for at, found in found_at.items()]
    # What training says of text is about other questions, and no gap to compare.
    alike = [(task, at, found) for task, at, found in everything if task != LANGUAGE_MODEL]
    if alike:
        metrics["audit_gap"] = max(found.loss - report.claims[task].losses[at] for task, at, found in alike)
    metrics["twin_gap"] = max(found.twin_gap for _, _, found in everything)
    return metrics


def _leave_artifacts(
    result: Path,
    params: dict[str, Any],
    report: Report,
    audits: Audits,
    rows: list[Comparison],
    downstream: dict[str, dict[str, float]],
) -> None:
    of = {name: params.get(name) for name in ("stage", "seed", "instance")}
    told = {
        **of,
        "kernels": report.kernels,
        "precision": report.precision,
        "metrics": [row._asdict() for row in rows],
        "audited_losses": {task: {at: found.loss for at, found in by_at.items()} for task, by_at in audits.items()},
        "findings": [finding._asdict() for finding in report.findings],
        **({"downstream": downstream} if downstream else {}),
    }
    (result / "comparison.json").write_text(json.dumps(told, indent=1, allow_nan=False))
    title = f"Stage {of['stage']}, seed {of['seed']}"
    note = f"{report.kernels} kernels, {report.precision}"
    (result / "table.svg").write_text(draw_table(title, note, rows, report.findings))
    (result / "curves.svg").write_text(draw_curves(title, note, audits, report.claims, rows))


if __name__ == "__main__":
    main()
