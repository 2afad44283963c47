"""The parameters of a stage, by name and with their defaults: what model is built, and how each task trains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.trainer import Plan


@dataclass(frozen=True)
class Settings:
    """What `params.json` asks for.

    `width`, `layers`, `heads`, `mlp_width`: of the model with the baseline's mixer. `tasks`: in the order of training;
    none at stage check. `checkpoints`: percents of the training. `checks`: "full", or "report" to measure what would be
    refused (benchmarks alone use it). `processes`: that train together; one per GPU where it is not given.
    `kernels`, `precision`, `device`: see skeleton/kernels.py, checks/, trainer.py.
    """

    stage: str
    seed: int
    is_baseline: bool
    tasks: tuple[str, ...]
    checkpoints: tuple[str, ...]
    width: int
    layers: int
    heads: int
    mlp_width: int
    device: str
    kernels: str
    precision: str
    checks: str
    processes: int | None
    parameters: Mapping[str, Any]

    @classmethod
    def read(cls, params: Mapping[str, Any]) -> Settings:
        """Of `params.json`. Raises KeyError where a parameter without a default is missing."""
        given = params["parameters"]
        return cls(
            stage=params["stage"],
            seed=params["seed"],
            is_baseline=bool(params.get("is_baseline", False)),
            tasks=tuple(str(given["tasks"]).split()),
            checkpoints=tuple(str(given.get("checkpoints", "30 60 100")).split()),
            width=given["width"],
            layers=given["layers"],
            heads=given["heads"],
            mlp_width=given["mlp_width"],
            device=given.get("device", "cpu"),
            kernels=given.get("kernels", "auto"),
            precision=given.get("precision", "auto"),
            checks=given.get("checks", "full"),
            processes=given.get("processes"),
            parameters=given,
        )

    def of_task(self, task: str, name: str, default: Any = None) -> Any:
        """The parameter TASK_NAME, else NAME, else the default."""
        return self.parameters.get(f"{task}_{name}", self.parameters.get(name, default))

    def steps(self, task: str) -> int:
        """Of the training of one task."""
        return int(self.of_task(task, "steps"))

    @property
    def all_steps(self) -> int:
        """Of all tasks together."""
        return sum(map(self.steps, self.tasks))

    def plan(self, task: str, precision: str) -> Plan:
        """How one task trains; `precision` is fp32 or bf16."""
        steps = self.steps(task)
        return Plan(
            steps=steps,
            batch=int(self.of_task(task, "batch")),
            learning_rate=float(self.of_task(task, "learning_rate")),
            warmup=round(steps * float(self.of_task(task, "warmup", 0.1))),
            weight_decay=float(self.of_task(task, "weight_decay", 0.1)),
            part=self.of_task(task, "part"),
            precision="bf16" if precision == "bf16" else "fp32",
            device=self.device,
            checkpoints=tuple(float(share) / 100 for share in self.checkpoints),
            seed=self.seed,
        )
