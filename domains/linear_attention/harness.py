"""Runs in the sandbox beside the candidate: checks its mixer, trains a small model with it for each task, leaves checkpoints.

What it reads: candidate/, train/ (text), params.json. What it leaves: checkpoint/ for predict.py, out/report.json and
out/progress.jsonl. It judges nothing: the report is a claim of a process that the candidate's code ran in, and what is
scored are answers of the checkpoints to questions that this process never has.

A candidate that is refused ends it well, with the refusal in the report. One that raises in training ends it with the
traceback. By hand: `python harness.py JOB_FOLDER`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

# One CPU is granted: threads of linear algebra would only wait for each other, and that counts as CPU time.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

sys.path.insert(0, str(Path(__file__).parent))

import kernels

kernels.prepare_environment()

# All of these before the candidate is imported: they keep references to what they use of torch.
import checkpoint
import launch
import mixers
import pace
import throughput
import torch
import trainer
from checkpoint import Built
from checks import check_trained, run_checks
from finding import Finding, refusal
from materials import LANGUAGE_MODEL, Material
from mixers import Maker, Refused
from model import matched_mlp_width, parameters_of
from report import Curve, Progress, Report
from settings import Settings
from subject import casting, find_precision
from tampering import check_tampering
from torch import nn
from trainer import Diverged, Place

_process_time = time.process_time

PACE_TURNS = 10

CHECK_WIDTH, CHECK_HEADS = 64, 2
"""Of the mixers that are checked; parameters are counted at the width of the stage."""


def main() -> None:
    """Fit for one job folder."""
    job = Path(sys.argv[1] if len(sys.argv) > 1 else "/job")
    settings = Settings.read(json.loads((job / "params.json").read_text()))
    if settings.device == "cpu":
        torch.set_num_threads(1)
    entry = json.loads((job / "params.json").read_text())["entry"]
    if launch.is_worker():
        report = Report.continued(job / "out", settings.stage)
    else:
        report = Report(job / "out", settings.stage)
        trainer.place_for(settings.device)  # a stage for a GPU says at once that there is none
    try:
        fit(job, entry, settings, report)
    except Refused as refused:
        report.refuse(refusal(refused))
    finally:
        trainer.leave()


def fit(job: Path, entry: str, settings: Settings, report: Report) -> None:
    """Everything in its order; raises Refused."""
    report.content["kernels"] = asdict(kernels.install(settings.kernels))
    baseline = mixers.maker(_baseline())
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
    trained = train_all(job, make, built, settings, report, place)
    if place.is_first:
        with timed(report, "checks afterwards"):
            check_afterwards(make, trained, built, settings)
        report.content["peak_memory_mb"] = _peak_memory_mb(settings.device)
        report.write()


@contextmanager
def timed(report: Report, part: str) -> Iterator[None]:
    """CPU seconds of a part of the run, for whoever wonders where they go."""
    begun = _process_time()
    yield
    report.content.setdefault("cpu_seconds", {})[part] = round(_process_time() - begun, 2)


def _baseline() -> type[nn.Module]:
    """DeltaNet, from the file that the search starts from."""
    return mixers.from_file(Path(__file__).parent / "baseline" / "mixer.py", "linear_attention_baseline")


def _candidate(job: Path, entry: str) -> type[nn.Module]:
    try:
        return mixers.load(job / "candidate", entry)
    except SystemExit as error:
        raise RuntimeError(f"Expected the candidate to be imported, but it left by sys.exit({error.code!r}).") from error


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
            all=settings.checks == "report",
        )
    report.add(findings, only_report=settings.checks == "report")
    for finding in findings:
        if finding.verdict == "refused" and settings.checks != "report":
            raise Refused(finding.check, finding.sentence)
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
    own, base = (parameters_of(maker(settings.width, settings.heads, 0)) for maker in (make, baseline))
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
    tokens = torch.randint(vocabulary, (batch, length), device=settings.device)
    measured = pace.measure(own, base, (tokens, tokens), built.precision, PACE_TURNS)
    report.content |= {
        "parameters": parameters_of(own),
        "cost_ratio": measured.ratio,
        "tokens_per_cpu_second": measured.tokens_per_second if settings.device == "cpu" else None,
        "tokens_per_second": measured.tokens_per_second,
        "baseline_tokens_per_second": measured.baseline_tokens_per_second,
    }


def train_all(
    job: Path, make: Maker, built: Built, settings: Settings, report: Report, place: Place
) -> list[nn.Module]:
    """Train a model for each task; the mixers of the last. Raises Refused where a loss is not finite."""
    progress = Progress(job / "out", settings.all_steps)
    vocabularies: dict[str, int] = {}
    model: nn.Module | None = None
    done = 0
    for task in settings.tasks:
        material = Material(task, settings.parameters, settings.seed, job / "train")
        vocabularies[task] = material.vocabulary
        control: dict[int, float] = {}
        if settings.is_baseline:
            with timed(report, f"{task}.control"):
                control = train_control(material, built, settings, place)
        torch.manual_seed(settings.seed)
        model = built.model(material.vocabulary, make)
        report.content["parameters"] = parameters_of(model)
        with timed(report, task):
            train_one(job, model, material, built, settings, report, place, progress, done, control)
        done += settings.steps(task)
        if place.is_first:
            report.write()
    if place.is_first:
        checkpoint.write_models(job / "checkpoint", built, vocabularies, list(settings.checkpoints))
    return [block.mixer for block in model.blocks]  # type: ignore[union-attr]


def train_one(
    job: Path,
    model: nn.Module,
    material: Material,
    built: Built,
    settings: Settings,
    report: Report,
    place: Place,
    progress: Progress,
    done: int,
    control: dict[int, float],
) -> None:
    """Train one model, with progress lines, checkpoints, and a claim at each of them."""
    task, plan = material.name, settings.plan(material.name, built.precision)
    curve, claims, asked = Curve(plan.steps), {}, material.questions()

    def on_step(step: trainer.Step) -> None:
        if curve.add(step.step, step.loss):
            told = {f"{task}.control": control[step.step]} if step.step in control else {}
            progress.tell(done + step.step, **{f"{task}.loss": curve.points[-1][1], **told})

    def on_checkpoint(share: float, step: int, trained: nn.Module) -> None:
        percent = settings.checkpoints[[float(s) / 100 for s in settings.checkpoints].index(share)]
        checkpoint.save(job / "checkpoint" / f"{task}@{percent}.pt", trained)
        logits = checkpoint.answer(
            trained,
            asked.tokens,
            asked.positions,
            rows=int(settings.of_task(task, "answer_rows", 32)),
            device=settings.device,
            precision=built.precision,
        )
        claims[percent] = checkpoint.loss_of(logits, asked.labels, asked.weights)
        trained.train()

    batches = material.batches(plan.batch, place.rank, place.processes)
    try:
        result = trainer.train(model, batches, plan, place=place, on_step=on_step, on_checkpoint=on_checkpoint)
    except Diverged as diverged:
        progress.tell(done + diverged.step, **{f"{task}.loss": float("nan")})
        raise Refused("training", f"{str(diverged).rstrip('.')} of {plan.steps} of the task {task}.") from diverged
    if task == LANGUAGE_MODEL and place.is_first:
        report.content |= utilisation(model, material, built, result, settings, place)
    report.content["tasks"][task] = {
        "steps": plan.steps,
        "tokens": result.tokens,
        "claimed": claims,
        "points": curve.points,
        "control": sorted(control.items()),
        "tokens_per_second": result.tokens_per_second,
    }


def utilisation(
    model: nn.Module, material: Material, built: Built, result: trainer.Trained, settings: Settings, place: Place
) -> dict[str, float | None]:
    """FLOPs of a token in training, and the share of what the GPUs could do at best: None on a CPU and unknown GPUs."""
    torch.manual_seed(settings.seed)
    with casting(built.precision, settings.device):
        state = throughput.state_flops_per_token([model.eval().blocks[0].mixer], built.width, material.length)
    looked_up = material.vocabulary * built.width
    flops = throughput.flops_per_token(parameters_of(model), looked_up, state * built.layers)
    name = torch.cuda.get_device_name(place.device) if place.device.type == "cuda" else "cpu"
    peak = throughput.peak_flops(name, built.precision, place.processes)
    return {"model_flops_per_token": flops, "mfu": throughput.utilisation(result.tokens_per_second, flops, peak)}


def train_control(material: Material, built: Built, settings: Settings, place: Place) -> dict[int, float]:
    """Step -> loss of the same model without any mixer: who is no better has no memory."""
    plan = settings.plan(material.name, built.precision)
    mlp = matched_mlp_width(0, _mixer_parameters(built, settings), settings.width, settings.mlp_width)
    torch.manual_seed(settings.seed)
    model = built._replace(mlp_width=mlp).model(material.vocabulary, no_mixer)
    curve = Curve(plan.steps)
    batches = material.batches(plan.batch, place.rank, place.processes)
    trainer.train(model, batches, plan, place=place, on_step=lambda step: curve.add(step.step, step.loss))
    return dict(curve.points)


def _mixer_parameters(built: Built, settings: Settings) -> int:
    return parameters_of(mixers.maker(_baseline())(built.width, settings.heads, 0))


class _NoMixer(nn.Module):
    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(hidden_states)


def no_mixer(hidden_size: int, num_heads: int, layer_idx: int) -> nn.Module:  # noqa: ARG001
    """A Maker of nothing: the skeleton's convolutions and MLPs are all there is."""
    return _NoMixer()


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
            raise Refused(finding.check, finding.sentence)


def _peak_memory_mb(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
