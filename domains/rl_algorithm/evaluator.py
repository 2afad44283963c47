"""Trusted: runs.json -> metrics.json, curves.svg, table.svg, comparison.json, or the one sentence why there are none.

The trainer alone has written what is read here, from evaluations that the candidate was never asked in. The score is no
metric of this file: the server takes the gain in `pass_at_1` over the baseline's run of the same seed. Beside it stand
the gain of every single run, and the interval of their mean. At stage check nothing is compared, and `gain` is 0.
By hand: `python evaluator.py JOB_FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from judging.curves import draw_curves
from judging.forms import Refusal, Report, read_runs
from judging.gains import Baseline, Gain, Interval, interval, paired_gains, read_baseline
from judging.measures import measures
from judging.table import draw_table


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
        return {"invalid": f"runs: {refusal}"}


def evaluate(job: Path, params: dict[str, Any]) -> dict[str, float]:
    """The metrics, with the artifacts written; raises Refusal."""
    parameters = params["parameters"]
    regimes, seeds = str(parameters["regimes"]).split(), inner_seeds(params)
    report = read_runs(job / "outputs" / "runs.json", params["stage"], params["seed"], regimes, seeds)
    if not parameters.get("compared", True):
        return {"gain": 0.0}
    metrics = measures(report.runs, regimes, seeds)
    baseline = read_baseline(params.get("baseline"))
    gains = paired_gains(report.runs, seeds, baseline)
    spread = interval([gain.value for gain in gains])
    if spread is not None:
        metrics |= {"gain_low": spread.low, "gain_high": spread.high}
    _leave_artifacts(job / "result", params, report, metrics, baseline, gains, spread)
    return metrics


def inner_seeds(params: dict[str, Any]) -> list[int]:
    """Those of the single runs, as harness.py derives them."""
    parameters = params["parameters"]
    first = 1000 * int(params["seed"]) + int(parameters.get("first_seed", 0))
    return [first + place for place in range(int(parameters["seeds_per_run"]))]


def _leave_artifacts(
    result: Path,
    params: dict[str, Any],
    report: Report,
    metrics: dict[str, float],
    baseline: dict[str, Baseline],
    gains: list[Gain],
    spread: Interval | None,
) -> None:
    of = {name: params.get(name) for name in ("stage", "seed", "instance")}
    told = {
        **of,
        "metrics": metrics,
        "baseline": {name: baseline[name]._asdict() for name in metrics if name in baseline},
        "gains": [gain._asdict() for gain in gains],
        "interval": None if spread is None else spread._asdict(),
        "curves": [{"regime": run.regime, "seed": run.seed, "points": run.curve} for run in report.runs],
        "candidate_calls": report.candidate_calls,
        "candidate_seconds": report.candidate_seconds,
        "cpu_seconds": sum(run.numbers["cpu_seconds"] for run in report.runs),
    }
    (result / "comparison.json").write_text(json.dumps(told, indent=1, allow_nan=False))
    title = f"Stage {of['stage']}, seed {of['seed']}"
    (result / "curves.svg").write_text(draw_curves(title, report.runs, baseline))
    (result / "table.svg").write_text(draw_table(title, metrics, baseline, gains, spread))


if __name__ == "__main__":
    main()
