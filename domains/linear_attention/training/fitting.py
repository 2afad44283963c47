"""The training of one run: a small model for each task, with progress lines, checkpoints, and a claim at each of them.

It runs in the process of the candidate, under torchrun in several; the first of these writes for all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from checks.subject import casting
from skeleton import checkpoint
from skeleton.checkpoint import Built
from skeleton.mixers import Maker, Refused
from skeleton.model import LanguageModel, matched_mlp_width, parameters_of
from torch import nn

from training import throughput, trainer
from training.materials import LANGUAGE_MODEL, Material
from training.report import Curve, Progress, Report
from training.settings import Settings
from training.trainer import Diverged, Place, Trained

_process_time = time.process_time


def no_mixer(hidden_size: int, num_heads: int, layer_idx: int) -> nn.Module:  # noqa: ARG001
    """A Maker of nothing: the skeleton's convolutions and MLPs are all there is."""
    return nn.Identity()


@contextmanager
def timed(report: Report, part: str) -> Iterator[None]:
    """CPU seconds of a part of the run, for whoever wonders where they go."""
    begun = _process_time()
    yield
    report.content.setdefault("cpu_seconds", {})[part] = round(_process_time() - begun, 2)


@dataclass(frozen=True)
class Fitting:
    """All that the trainings of a run have in common. `make` and `baseline` make mixers."""

    job: Path
    settings: Settings
    report: Report
    place: Place
    built: Built
    make: Maker
    baseline: Maker

    def all_tasks(self) -> list[nn.Module]:
        """Train a model for each task; the mixers of the last one. Raises Refused where a loss is not finite."""
        vocabularies: dict[str, int] = {}
        mixers: list[nn.Module] = []
        done = 0
        for task in self.settings.tasks:
            material = Material(task, self.settings.parameters, self.settings.seed, self.job / "train")
            vocabularies[task] = material.vocabulary
            control = None
            if self.settings.is_baseline:
                with timed(self.report, f"{task}.control"):
                    control = self._control(material)
            with timed(self.report, task):
                model = self._one_task(material, done, control)
            mixers = [block.mixer for block in model.blocks]  # type: ignore[misc]
            done += self.settings.steps(task)
        if self.place.is_first:
            checkpoint.write_models(self.job / "checkpoint", self.built, vocabularies, list(self.settings.checkpoints))
        return mixers

    def _one_task(self, material: Material, done: int, control: Curve | None) -> LanguageModel:
        """Train the model of a task after `done` steps of others."""
        task, plan = material.name, self.settings.plan(material.name, self.built.precision)
        curve, claims = Curve(plan.steps), Claims(self, material)
        progress = Progress(self.job / "out", self.settings.all_steps)

        def on_step(step: trainer.Step) -> None:
            if curve.add(step.step, step.loss):
                progress.tell(done + step.step, **_told(task, curve, control))

        model = self._model(material, self.built, self.make)
        try:
            result = self._train(model, material, on_step, claims.at)
        except Diverged as diverged:
            if self.place.is_first:
                progress.tell(done + diverged.step, **{f"{task}.loss": float("nan")})
            sentence = f"{str(diverged).rstrip('.')} of {plan.steps} of the task {task}."
            raise Refused("training", sentence) from diverged
        if self.place.is_first:
            self._tell(task, curve, claims.losses, control, result)
            self.report.content["parameters"] = parameters_of(model)
            if task == LANGUAGE_MODEL:
                self.report.content |= self._utilisation(model, material, result)
            self.report.write()
        return model

    def _model(self, material: Material, built: Built, make: Maker) -> LanguageModel:
        torch.manual_seed(self.settings.seed)
        return built.model(material.vocabulary, make)

    def _train(
        self,
        model: LanguageModel,
        material: Material,
        on_step: trainer.OnStep,
        on_checkpoint: trainer.OnCheckpoint | None = None,
    ) -> Trained:
        plan = self.settings.plan(material.name, self.built.precision)
        batches = material.batches(plan.batch, self.place.rank, self.place.processes)
        return trainer.train(model, batches, plan, place=self.place, on_step=on_step, on_checkpoint=on_checkpoint)

    def _control(self, material: Material) -> Curve:
        """Who is no better than this has no memory. Blocks are of the size of the baseline's here too."""
        width, heads = self.settings.width, self.settings.heads
        mlp = matched_mlp_width(0, parameters_of(self.baseline(width, heads, 0)), width, self.settings.mlp_width)
        curve = Curve(self.settings.steps(material.name))

        def on_step(step: trainer.Step) -> None:
            curve.add(step.step, step.loss)

        self._train(self._model(material, self.built._replace(mlp_width=mlp), no_mixer), material, on_step)
        return curve

    def _tell(self, task: str, curve: Curve, claimed: dict[str, float], control: Curve | None, result: Trained) -> None:
        self.report.content["tasks"][task] = {
            "steps": len(result.losses),
            "tokens": result.tokens,
            "claimed": claimed,
            "points": curve.points,
            "control": control.points if control is not None else [],
            "tokens_per_second": result.tokens_per_second,
        }

    def _utilisation(self, model: LanguageModel, material: Material, result: Trained) -> dict[str, float | None]:
        """FLOPs of a token in training, and their share of what the GPUs could do: None where that is not known."""
        built, place = self.built, self.place
        torch.manual_seed(self.settings.seed)
        mixer: nn.Module = model.eval().blocks[0].mixer  # type: ignore[assignment]
        with casting(built.precision, self.settings.device):
            state = throughput.state_flops_per_token([mixer], built.width, material.length)
        looked_up = material.vocabulary * built.width
        flops = throughput.flops_per_token(parameters_of(model), looked_up, state * built.layers)
        name = torch.cuda.get_device_name(place.device) if place.device.type == "cuda" else "cpu"
        peak = throughput.peak_flops(name, built.precision, place.processes)
        return {"model_flops_per_token": flops, "mfu": throughput.utilisation(result.tokens_per_second, flops, peak)}


def _told(task: str, curve: Curve, control: Curve | None) -> dict[str, float]:
    """What a line of progress says: the latest point, and what the quarter of this task came to once it is over.

    A rule of early stopping has the share of the whole run, in which the tasks of another stage or instance have other
    places: it is applied to `TASK.quarter` where that is first told.
    """
    step, loss = curve.points[-1]
    told = {f"{task}.loss": loss, f"{task}.quarter": curve.at_quarter}
    if control is not None:
        told |= {f"{task}.control": dict(control.points)[step]}
        told |= {f"{task}.quarter_control": control.at_quarter if curve.at_quarter is not None else None}
    return {name: value for name, value in told.items() if value is not None}


class Claims:
    """Writes checkpoints, and says what loss the model has there on questions of the audit's kind."""

    def __init__(self, fitting: Fitting, material: Material) -> None:
        self._fitting = fitting
        self._task = material.name
        self._asked = material.questions()
        self.losses: dict[str, float] = {}
        """By percent of the training."""

    def at(self, share: float, step: int, model: nn.Module) -> None:  # noqa: ARG002
        """Called by the trainer, in the first process."""
        settings = self._fitting.settings
        percent = next(one for one in settings.checkpoints if float(one) / 100 == share)
        checkpoint.save(self._fitting.job / "checkpoint" / f"{self._task}@{percent}.pt", model)
        logits = checkpoint.answer(
            model,
            self._asked.tokens,
            self._asked.positions,
            rows=int(settings.of_task(self._task, "answer_rows", 32)),
            device=settings.device,
            precision=self._fitting.built.precision,
        )
        self.losses[percent] = checkpoint.loss_of(logits, self._asked.labels, self._asked.weights)
        model.train()
