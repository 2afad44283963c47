"""Runs in the sandbox beside the candidate: checks its mixer, trains a small model with it for each task, leaves
checkpoints.

What it reads: candidate/, train/ (text), params.json. What it leaves: checkpoint/ for predict.py, out/report.json and
out/progress.jsonl. It judges nothing: the report is a claim of a process that the candidate's code ran in, and what is
scored are answers of the checkpoints to questions that this process never has.

A candidate that is refused ends it well, with the refusal in the report. One that raises in training ends it with the
traceback. By hand: `python harness.py JOB_FOLDER`.
"""

# ruff: noqa: E402 - torch reads the environment when it is imported, and some of what follows keeps references to it

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import asdict
from pathlib import Path

# One CPU is granted: threads of linear algebra would only wait for each other, and that counts as CPU time.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

sys.path.insert(0, str(Path(__file__).parent))

from skeleton import kernels

kernels.prepare_environment()

# All of these before the candidate is imported: they keep references to what they use of torch.
import torch
from checks.every_check import check_trained, run_checks
from checks.finding import Failed, Finding, refusal
from checks.subject import find_precision
from checks.tampering import check_tampering, watch
from skeleton import mixers
from skeleton.checkpoint import Built
from skeleton.mixers import Maker, Refused
from skeleton.model import matched_mlp_width, mixer_parameters, parameters_of
from torch import nn
from training import launch, pace, trainer
from training.fitting import Fitting, timed
from training.report import Report
from training.settings import Settings

PACE_TURNS = 10

CHECK_WIDTH, CHECK_HEADS = 64, 2
"""Of the mixers that are checked; parameters are counted at the width of the stage."""


def main() -> None:
    """Fit for one job folder."""
    job = Path(sys.argv[1] if len(sys.argv) > 1 else "/job")
    params = json.loads((job / "params.json").read_text())
    settings = Settings.read(params)
    if settings.device == "cpu":
        torch.set_num_threads(1)
    if launch.is_worker():
        report = Report.continued(job / "out", settings.stage)
    else:
        report = Report(job / "out", settings.stage)
        trainer.place_for(settings.device)  # a stage for a GPU says at once that there is none
    try:
        fit(job, params["entry"], settings, report)
    except Refused as refused:
        if launch.is_first():
            report.refuse(refusal(refused))
    finally:
        trainer.leave()


def fit(job: Path, entry: str, settings: Settings, report: Report) -> None:
    """Everything in its order; raises Refused."""
    report.content["kernels"] = asdict(kernels.install(settings.kernels))
    baseline = mixers.maker(_baseline())
    watch(Path(__file__).resolve().parent)
    make = mixers.maker(_candidate(job, entry))
    if launch.is_worker():
        built = Built(**report.content["built"])
    else:
        built = check(make, baseline, settings, report)
        report.write()
        processes = launch.wanted(settings.device, settings.processes) if settings.tasks else 1
        if processes > 1:
            sys.exit(launch.start(__file__, sys.argv[1:], processes))
    if not settings.tasks:
        return
    place = trainer.place_for(settings.device)
    trained = Fitting(job, settings, report, place, built, make, baseline).all_tasks()
    if place.is_first:
        with timed(report, "checks afterwards"):
            check_afterwards(make, trained, built, settings)
        report.content["peak_memory_mb"] = _peak_memory_mb(settings.device)
        report.write()


def _baseline() -> type[nn.Module]:
    """DeltaNet, from the file that the search starts from."""
    return mixers.from_file(Path(__file__).parent / "baseline" / "mixer.py", "linear_attention_baseline")


def _candidate(job: Path, entry: str) -> type[nn.Module]:
    try:
        return mixers.load(job / "candidate", entry)
    except SystemExit as error:
        raise RuntimeError(
            f"Expected the candidate to be imported, but it left by sys.exit({error.code!r})."
        ) from error


def check(make: Maker, baseline: Maker, settings: Settings, report: Report) -> Built:
    """Findings of all checks and the pace into the report; raises Refused at the first refusal."""
    with timed(report, "checks"):
        findings = run_checks(
            make,
            width=CHECK_WIDTH,
            heads=CHECK_HEADS,
            seed=settings.seed,
            precision=settings.precision,
            device=settings.device,
            reference=baseline,
            target=(settings.width, settings.heads, settings.mlp_width),
            layers=settings.layers,
            all=settings.checks == "report",
        )
    report.add(findings, only_report=settings.checks == "report")
    for finding in findings:
        if finding.verdict == "refused" and settings.checks != "report":
            raise Failed(finding.check, finding.sentence, finding.value, finding.limit)
    precision = find_precision(make, CHECK_WIDTH, CHECK_HEADS, settings.seed, settings.device, settings.precision)
    built = build_plan(make, baseline, settings, report, precision)
    report.content["precision"] = precision
    report.content["device"] = settings.device
    report.content["cost_exponent"] = report.value_of("cost")
    with timed(report, "pace"):
        measure_pace(make, baseline, built, settings, report)
    return built


def build_plan(make: Maker, baseline: Maker, settings: Settings, report: Report, precision: str) -> Built:
    """How the models are built, with the width of the MLP that makes blocks of one size."""
    own = mixer_parameters(make, settings.width, settings.heads, settings.layers)
    base = mixer_parameters(baseline, settings.width, settings.heads, 1)
    mlp = 3 * settings.width * settings.mlp_width
    matched = matched_mlp_width(own, base, settings.width, settings.mlp_width)
    built = Built(settings.width, settings.layers, settings.heads, matched, precision)
    report.content |= {"parameter_ratio": (own + mlp) / (base + mlp), "mlp_width": matched, "built": built._asdict()}
    return built


def measure_pace(make: Maker, baseline: Maker, built: Built, settings: Settings, report: Report) -> None:
    """Tokens per second of a training step beside the baseline's, in turns, at the batch and length of the stage."""
    torch.manual_seed(settings.seed)
    vocabulary = 256
    batch, length = settings.of_task("pace", "batch"), settings.of_task("pace", "length")
    own = built.model(vocabulary, make).to(settings.device)
    base = built._replace(mlp_width=settings.mlp_width).model(vocabulary, baseline).to(settings.device)
    plain = "bf16" if settings.precision == "bf16" else "fp32"
    tokens = torch.randint(vocabulary, (batch, length), device=settings.device)
    measured = pace.measure(own, base, (tokens, tokens), (built.precision, plain), PACE_TURNS)
    report.content |= {
        "parameters": parameters_of(own),
        "cost_ratio": measured.ratio,
        "tokens_per_cpu_second": measured.tokens_per_second if settings.device == "cpu" else None,
        "tokens_per_second": measured.tokens_per_second,
        "baseline_tokens_per_second": measured.baseline_tokens_per_second,
    }


def check_afterwards(make: Maker, trained: list[nn.Module], built: Built, settings: Settings) -> None:
    """Causality of the last layer with trained weights, and whether torch is still as it was; raises Refused.

    The evaluator looks at all layers together: it has the same asked twice with different tokens behind.
    """
    found: list[Finding] = [check_tampering()]
    found += check_trained(
        make,
        trained[-1:],
        first=len(trained) - 1,
        width=built.width,
        heads=built.heads,
        seed=settings.seed,
        precision=built.precision,
        device=settings.device,
    )
    for finding in found:
        if finding.verdict == "refused":
            raise Failed(finding.check, finding.sentence, finding.value, finding.limit)


def _peak_memory_mb(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
