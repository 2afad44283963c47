"""Train a language model: one loop for a CPU, for a GPU, and for several GPUs under torchrun.

The budget is a number of steps and tokens, never a time: two machines train the same model, one of them longer.
What a step does: take the batch with the step's number, average the cross-entropy over all targets that are asked
(!= -100), add the model's auxiliary loss, clip the gradient's norm, take one step of AdamW (arXiv 1711.05101) at the
rate of `learning_rate_at`. What torch draws in step s comes from (seed, rank, s) alone, so a run that was cut off and
goes on from its saved state computes what it would have computed.

It is not a fast trainer: weights and optimizer state are whole on every GPU (no sharding), nothing is compiled, and the
loss is read back every step, because a run that has diverged has to end at that step. And it is no trusted one: the
candidate's code runs in this process, so whatever it reports is a claim, to be held against held-out answers.
"""

import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

NOT_ASKED = -100
"""The target of a position whose next token is not asked."""

BETAS = (0.9, 0.95)

Precision = Literal["auto", "fp32", "bf16"]
Batches = Callable[[int], tuple[Any, Any]]
"""Number of a step, from 1 -> tokens and targets of this process, each (batch / processes, length) of int64."""


class Diverged(RuntimeError):
    """A loss or a gradient was not finite. The weights are those of the step before.

    `step` is the step, from 1; `what` is "loss" or "gradient".
    """

    def __init__(self, step: int, what: str, value: float) -> None:
        super().__init__(f"Expected a finite {what}, but got {value} at step {step}.")
        self.step = step
        self.what = what


class NoDevice(RuntimeError):
    """The device that a stage asks for is not on this machine."""


@dataclass(frozen=True)
class Plan:
    """What a training is, down to its numbers.

    `batch`: rows of a step, over all processes and parts together.
    `learning_rate`, `warmup` (steps), `final_share` (of the peak, left at the last step): see `learning_rate_at`.
    `weight_decay`: of matrices, see `optimizer_of`. `clip`: bound on the norm of the whole gradient.
    `part`: rows of one forward pass in one process; a step adds up the gradients of as many as it takes (None: one).
    `precision`: "bf16" is autocast, "auto" is bf16 on CUDA and fp32 elsewhere.
    `checkpoints`: shares of the steps after which `on_checkpoint` is called.
    `save_every`: steps between saved states (0: none).
    `threads`: of the CPU; with 1 the same seed gives the same losses.
    `settle`: first steps that the throughput leaves out: kernels are built and tuned in them.
    """

    steps: int
    batch: int
    learning_rate: float = 3e-3
    warmup: int = 20
    final_share: float = 0.1
    weight_decay: float = 0.1
    clip: float = 1.0
    part: int | None = None
    precision: Precision = "auto"
    device: str = "cpu"
    checkpoints: tuple[float, ...] = (0.5, 0.75, 1.0)
    save_every: int = 0
    seed: int = 0
    threads: int = 1
    settle: int = 5

    def __post_init__(self) -> None:
        _expect(self.steps >= 1 and self.batch >= 1, "steps and batch of at least 1", (self.steps, self.batch))
        _expect(0 <= self.warmup <= self.steps, f"a warm-up of 0 to {self.steps} steps", self.warmup)
        _expect(0.0 <= self.final_share <= 1.0, "a final_share of 0 to 1", self.final_share)
        _expect(self.clip > 0.0 and self.learning_rate > 0.0, "clip and learning_rate above 0", self.clip)
        _expect(all(0.0 < share <= 1.0 for share in self.checkpoints), "checkpoints in (0, 1]", self.checkpoints)
        _expect(self.part is None or self.part >= 1, "parts of at least 1 row", self.part)
        _expect(self.precision in ("auto", "fp32", "bf16"), "auto, fp32 or bf16", self.precision)


@dataclass(frozen=True)
class Place:
    """Where this process computes: its device, its number, and how many there are."""

    device: torch.device
    rank: int = 0
    processes: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process reports and writes for all."""
        return self.rank == 0


@dataclass(frozen=True)
class Step:
    """One step as it was. `loss` in nats per asked target, without the auxiliary loss; `gradient_norm` before clipping;
    `tokens`: all that went in up to this step, over all processes; `seconds` and `cpu_seconds`: of this step alone."""

    step: int
    of: int
    loss: float
    auxiliary_loss: float
    gradient_norm: float
    learning_rate: float
    tokens: int
    seconds: float
    cpu_seconds: float


OnStep = Callable[[Step], object]
OnCheckpoint = Callable[[float, int, nn.Module], object]
"""Called with the share of the training, the step, and the model."""


@dataclass
class Trained:
    """What a training came to. `losses`: one per step, those before a resumption included. Throughputs are in tokens of
    all processes; they leave out the first `settle` steps, and the time that callbacks take. The CPU's is that of this
    process. They are None where no step was left to measure."""

    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    resumed_at: int = 0
    precision: str = "fp32"
    tokens_per_second: float | None = None
    tokens_per_cpu_second: float | None = None
    peak_memory_bytes: int | None = None


def _expect(holds: bool, what: str, got: object) -> None:
    if not holds:
        raise ValueError(f"Expected {what}, but got {got!r}. Change the plan of the training.")


# ---- where it runs ----


def place_for(device: str) -> Place:
    """The place of this process; under torchrun, which sets RANK and WORLD_SIZE, it joins the group of processes.

    Raises NoDevice where CUDA is asked for and missing: a stage for a GPU never falls back to the CPU in silence.
    """
    kind = torch.device(device).type
    if kind not in ("cpu", "cuda"):
        raise NoDevice(f"Expected the device cpu or cuda, but got {device!r}. Change the stage's parameter `device`.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise NoDevice(
            f"Expected a CUDA GPU that PyTorch {torch.__version__} can use, but got none (torch.cuda.is_available() is "
            "False). Run this stage on a machine with a GPU and a CUDA build of PyTorch, or take a stage for the CPU."
        )
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if kind == "cuda":
        here = torch.device(device) if processes == 1 else torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(here)
    else:
        here = torch.device("cpu")
    if processes > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    return Place(here, rank, processes)


def leave() -> None:
    """Leave the group of processes, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def precision_of(plan: Plan, device: torch.device) -> Literal["fp32", "bf16"]:
    """The precision that a plan means on a device."""
    if plan.precision != "auto":
        return plan.precision
    return "bf16" if device.type == "cuda" else "fp32"


def _total(number: float, place: Place) -> float:
    """The sum of a number over all processes."""
    if place.processes == 1:
        return number
    summed = torch.tensor(number, dtype=torch.float64, device=place.device)
    dist.all_reduce(summed)
    return float(summed.item())


# ---- how fast it learns ----


def learning_rate_at(step: int, plan: Plan) -> float:
    """The rate of a step, s in 1 .. steps (S), with warm-up W, peak p and final rate f = final_share * p:

        p * s / W                                              for s <= W
        f + (p - f) * (1 + cos(pi * (s - W) / (S - W))) / 2    otherwise (cosine decay, arXiv 1608.03983, eq. 5)

    The peak is reached at s = W, and f at s = S.
    """
    if step <= plan.warmup:
        return plan.learning_rate * step / plan.warmup
    final = plan.final_share * plan.learning_rate
    decayed = (step - plan.warmup) / (plan.steps - plan.warmup)
    return final + (plan.learning_rate - final) * (1.0 + math.cos(math.pi * decayed)) / 2.0


def optimizer_of(model: nn.Module, plan: Plan, device: torch.device) -> torch.optim.AdamW:
    """AdamW that decays matrices (parameters of two or more dimensions) and leaves gains, biases and rates alone."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": plan.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=BETAS, fused=device.type == "cuda")


# ---- one step ----


class _Loss(nn.Module):
    """The model and its loss in one module: so DistributedDataParallel sees the auxiliary loss in the graph too."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, targets: Tensor, per_target: float, per_row: float) -> tuple[Tensor, ...]:
        """What is to be minimised, the summed cross-entropy, and the auxiliary loss times rows: three scalars.

        `per_target` and `per_row` weigh one asked target and one row, so that parts and processes add up to the mean.
        """
        model: Any = self.model
        logits = model(tokens)
        summed = nn.functional.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten(), ignore_index=NOT_ASKED, reduction="sum"
        )
        auxiliary = model.auxiliary_loss()
        if auxiliary is None:
            auxiliary = summed.new_zeros(())
        rows = len(tokens)
        return summed * per_target + auxiliary.float() * (rows * per_row), summed.detach(), auxiliary.detach() * rows


def _parts(tokens: Tensor, targets: Tensor, plan: Plan) -> list[tuple[Tensor, Tensor]]:
    rows = plan.part or len(tokens)
    return list(zip(tokens.split(rows), targets.split(rows), strict=True))


def _batch(batches: Batches, step: int, plan: Plan, place: Place) -> tuple[Tensor, Tensor]:
    """The tokens and targets of this process, on its device."""
    tokens, targets = (torch.as_tensor(array) for array in batches(step))
    rows = plan.batch // place.processes
    if tokens.ndim != 2 or tokens.shape != targets.shape or len(tokens) != rows or rows * place.processes != plan.batch:
        raise ValueError(
            f"Expected tokens and targets ({plan.batch} / {place.processes} processes, length), but got "
            f"{tuple(tokens.shape)} and {tuple(targets.shape)}. Make the batch a multiple of the processes."
        )
    return tokens.to(place.device, non_blocking=True), targets.to(place.device, non_blocking=True)


def seed_of(seed: int, rank: int, step: int) -> int:
    """The seed of everything random in one step of one process."""
    return int(np.random.SeedSequence((seed, rank, step)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _gradients(module: nn.Module, batch: tuple[Tensor, Tensor], plan: Plan, place: Place) -> tuple[float, float]:
    """Add up the gradients of one step; return cross-entropy per asked target and auxiliary loss, over all processes.

    DistributedDataParallel averages gradients over processes, so every part is weighed with the number of processes:
    the gradient is that of one process with the whole batch, however many targets each one has. Gradients are exchanged
    once, with the last part.
    """
    asked = _total(float((batch[1] != NOT_ASKED).sum().item()), place)
    if asked == 0.0:
        raise ValueError("Expected at least one target that is asked in every batch, but got none. Change the batches.")
    per_target, per_row = place.processes / asked, place.processes / plan.batch
    parts = _parts(*batch, plan)
    summed, auxiliary = torch.zeros((), device=place.device), torch.zeros((), device=place.device)
    autocast = torch.autocast(
        place.device.type, dtype=torch.bfloat16, enabled=precision_of(plan, place.device) == "bf16"
    )
    for number, (tokens, targets) in enumerate(parts, start=1):
        quiet = isinstance(module, DistributedDataParallel) and number < len(parts)
        with cast(DistributedDataParallel, module).no_sync() if quiet else nullcontext():
            with autocast:
                objective, part_sum, part_auxiliary = module(tokens, targets, per_target, per_row)
            objective.backward()
        summed += part_sum
        auxiliary += part_auxiliary
    return _total(summed.item(), place) / asked, _total(auxiliary.item(), place) / plan.batch


# ---- the loop ----


def train(
    model: nn.Module,
    batches: Batches,
    plan: Plan,
    *,
    place: Place | None = None,
    on_step: OnStep | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    state: Path | None = None,
) -> Trained:
    """Train a model in place. `model(tokens)` gives logits (B, T, V), `model.auxiliary_loss()` a scalar tensor or None.

    `on_step(step)` and `on_checkpoint(share, step, model)` are called in the first process only. With `state` the run
    goes on from that file if it is there, and writes it every `save_every` steps.
    Raises Diverged, NoDevice (without `place`), and ValueError for batches or a state that do not fit the plan.
    """
    place = place or place_for(plan.device)
    if place.device.type == "cpu":
        torch.set_num_threads(plan.threads)
    else:
        torch.cuda.reset_peak_memory_stats(place.device)
    model.to(place.device).train()
    optimizer = optimizer_of(model, plan, place.device)
    trained = Trained(precision=precision_of(plan, place.device))
    if state is not None and state.exists():
        load_state(state, model, optimizer, trained, plan, place)
    module: nn.Module = _Loss(model)
    if place.processes > 1:
        # Honest candidates have parameters that some or all steps leave without a gradient.
        devices = [place.device] if place.device.type == "cuda" else None
        module = DistributedDataParallel(module, device_ids=devices, find_unused_parameters=True)
    due = [(math.ceil(share * plan.steps - 1e-9), share) for share in sorted(plan.checkpoints)]
    measured = [0, 0.0, 0.0]
    for number in range(trained.resumed_at + 1, plan.steps + 1):
        torch.manual_seed(seed_of(plan.seed, place.rank, number))
        batch = _batch(batches, number, plan, place)
        began, began_cpu = time.perf_counter(), time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(number, plan)
        optimizer.zero_grad(set_to_none=True)
        loss, auxiliary = _gradients(module, batch, plan, place)
        if not math.isfinite(loss + auxiliary):
            raise Diverged(number, "loss", loss + auxiliary)
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), plan.clip).item())
        if not math.isfinite(norm):
            raise Diverged(number, "gradient", norm)
        optimizer.step()
        if place.device.type == "cuda":
            torch.cuda.synchronize(place.device)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
        tokens = batch[0].numel() * place.processes
        trained.losses.append(loss)
        trained.tokens += tokens
        if number > trained.resumed_at + plan.settle:
            measured = [measured[0] + tokens, measured[1] + seconds, measured[2] + cpu_seconds]
        if not place.is_first:
            continue
        if on_step is not None:
            rate = learning_rate_at(number, plan)
            on_step(Step(number, plan.steps, loss, auxiliary, norm, rate, trained.tokens, seconds, cpu_seconds))
        for at, share in due:
            if on_checkpoint is not None and at == number:
                on_checkpoint(share, number, model)
        if state is not None and plan.save_every and number % plan.save_every == 0:
            save_state(state, model, optimizer, trained, plan)
    if measured[0]:
        trained.tokens_per_second = measured[0] / max(measured[1], 1e-9)
        trained.tokens_per_cpu_second = measured[0] / max(measured[2], 1e-9)
    if place.device.type == "cuda":
        trained.peak_memory_bytes = torch.cuda.max_memory_allocated(place.device)
    return trained


# ---- going on after an end that came too early ----


def _fingerprint(plan: Plan) -> dict[str, Any]:
    """What has to be the same in a run that goes on. Where it runs, and how it cuts its batches, may change."""
    return {k: v for k, v in asdict(plan).items() if k not in ("device", "part", "save_every", "threads", "settle")}


def save_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, trained: Trained, plan: Plan) -> None:
    """Write all that a run needs to go on, beside and then in place: a file is whole or not there."""
    beside = path.with_name(path.name + ".new")
    torch.save(
        {
            "plan": _fingerprint(plan),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "losses": trained.losses,
            "tokens": trained.tokens,
        },
        beside,
    )
    beside.replace(path)


def load_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, trained: Trained, plan: Plan, place: Place
) -> None:
    """Take over a saved state. What a mixer keeps outside its parameters and buffers (a Python counter) starts anew.

    Raises ValueError for the state of another plan.
    """
    saved = torch.load(path, map_location=place.device, weights_only=True)
    if saved["plan"] != _fingerprint(plan):
        raise ValueError(f"Expected the state of this plan in {path}, but got one of {saved['plan']}. Remove the file.")
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    trained.losses = list(saved["losses"])
    trained.tokens = saved["tokens"]
    trained.resumed_at = len(trained.losses)
