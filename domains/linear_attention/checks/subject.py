"""The mixer under test: fresh copies with known weights, and their answers as numpy arrays.

Every comparison is made between two modules that were built anew, with the same weights and the same random seed, so
that step counters, caches and dropout cannot look like a leak. `copy.deepcopy` will not do: it fails for modules that
keep an auxiliary loss. Tensor methods are taken from torch when this file is imported, which is before the candidate
is.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from skeleton.mixers import Maker
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from checks.finding import Failed, attempt

Array = NDArray[np.float32]

_detach, _to, _numpy = Tensor.detach, Tensor.to, Tensor.numpy
_copy, _clone = Tensor.copy_, Tensor.clone
_randn, _autocast, _default_generator = torch.randn, torch.autocast, torch.default_generator

NOISE = 0.05
"""Standard deviation of what is added to weights: a gate that starts at zero shows what is behind it."""

PRECISIONS = ("fp32", "bf16")
TOLERANCE = {"fp32": 1e-5, "bf16": 1e-2}
"""Relative differences up to these are rounding. Measured in fp32: honest mixers under 3e-7, the smallest leak 1.2e-4;
in bf16 one unit in the last place is 0.4 % to 0.8 %."""


class Weights(NamedTuple):
    """Everything that a module has been given: its tensors, and the plain numbers and texts among its attributes.

    Tables that are built in the first forward come with the number that says how long they are: both or neither, or the
    module would believe in a table that is not there.
    """

    tensors: dict[str, Tensor]
    """Parameters and buffers, by their names."""
    plain: dict[str, dict[str, Any]]
    """Of each part."""
    tables: dict[str, dict[str, Tensor]]
    """Tensors among the attributes of each part that are neither, and need no gradient."""


class Condition(NamedTuple):
    """How a mixer is run: with weights as they are or noisy, training or not, and with inputs of which size."""

    noisy: bool = False
    training: bool = False
    scale: float = 1.0

    def __str__(self) -> str:
        weights = "weights + noise" if self.noisy else "weights as they are"
        return f"{weights}, {'training' if self.training else 'evaluation'} mode, inputs x{self.scale:g}"


class Subject:
    """A candidate's mixer at one width. All randomness comes from `seed`."""

    def __init__(
        self,
        make: Maker,
        width: int,
        heads: int,
        seed: int,
        precision: str = "fp32",
        device: str = "cpu",
        trained: nn.Module | None = None,
        layer: int = 0,
    ) -> None:
        self.make = make
        self.width = width
        self.heads = heads
        self.seed = seed
        self.precision = precision
        self.device = device
        self.layer = layer
        self._weights = weights_of(trained if trained is not None else self._build())
        self._noisy = self._with_noise(self._weights)

    def at_layer(self, layer: int) -> Subject:
        """The mixer of another layer, untrained, from the same seed."""
        return Subject(self.make, self.width, self.heads, self.seed, self.precision, self.device, layer=layer)

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.precision]

    def _build(self) -> nn.Module:
        self._reseed()
        doing = f"a mixer of width {self.width} with {self.heads} heads"
        module = attempt("constructor", doing, lambda: self.make(self.width, self.heads, self.layer).to(self.device))
        if not isinstance(module, nn.Module):
            raise Failed("constructor", f"Expected a torch.nn.Module, but got {type(module).__name__}.")
        lazy = [name for name, parameter in module.named_parameters() if is_lazy(parameter)]
        if lazy:
            sentence = f"Expected every parameter to have its shape, but {lazy[0]} has none. Do not use lazy modules."
            raise Failed("constructor", sentence)
        return module

    def _reseed(self) -> None:
        _default_generator.manual_seed(self.seed)  # torch.manual_seed formats a stack for CUDA: 0.3 ms each
        if torch.device(self.device).type == "cuda":
            torch.cuda.manual_seed_all(self.seed)
        np.random.seed(self.seed % 2**32)
        random.seed(self.seed)

    def _with_noise(self, weights: Weights) -> Weights:
        generator = torch.Generator().manual_seed(self.seed + 1)
        named = set(dict(self._build().named_parameters()))
        noisy = {
            name: tensor + NOISE * _randn(tensor.shape, generator=generator).to(tensor)
            if name in named and tensor.is_floating_point()
            else tensor
            for name, tensor in weights.tensors.items()
        }
        return weights._replace(tensors=noisy)

    def fresh(self, condition: Condition = Condition()) -> nn.Module:  # noqa: B008 - a NamedTuple does not change
        """A mixer that has never been called, with the weights of the condition, in its mode."""
        module = self._build()
        attempt("constructor", "a mixer that takes its own weights back", lambda: self._restore(module, condition))
        return module.train(condition.training)

    def _restore(self, module: nn.Module, condition: Condition) -> None:
        give_back(module, self._noisy if condition.noisy else self._weights)

    def inputs(self, batch: int, length: int, condition: Condition = Condition(), salt: int = 0) -> Tensor:  # noqa: B008
        """(batch, length, width) of standard normal numbers times the condition's scale; another salt, other
        numbers."""
        generator = torch.Generator().manual_seed(self.seed + 7919 * (salt + 1) + length)
        return (_randn((batch, length, self.width), generator=generator) * condition.scale).to(self.device)

    def forward(self, module: nn.Module, x: Tensor, check: str = "shape") -> Tensor:
        """The module's output for a copy of x, in the precision of this subject; raises Refused(check, ...)."""
        self._reseed()
        x = _clone(x)  # a mixer that works in place must not change what it is compared on
        with casting(self.precision, self.device):
            output = attempt(check, f"a forward pass over {tuple(x.shape)}", lambda: module(x))
        if type(output) is not Tensor:
            raise Failed("shape", f"Expected a plain torch.Tensor, but got {type(output).__name__}.")
        if output.shape != x.shape:
            raise Failed("shape", f"Expected an output of shape {tuple(x.shape)}, but got {tuple(output.shape)}.")
        return output

    def answer(self, module: nn.Module, x: Tensor, check: str = "shape") -> Array:
        """`forward` as an array of our own; with gradients recorded in training mode, without in evaluation."""
        with contextlib.nullcontext() if module.training else torch.no_grad():
            return array_of(self.forward(module, x, check))

    def fresh_answer(self, x: Tensor, condition: Condition, check: str = "shape") -> Array:
        """The answer of a mixer that has seen nothing before."""
        return self.answer(self.fresh(condition), x, check)


@contextlib.contextmanager
def casting(precision: str, device: str = "cpu") -> Iterator[None]:
    """Where a mixer runs: as it is for fp32, under autocast to bfloat16 for bf16."""
    with _autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        yield


def find_precision(make: Maker, width: int, heads: int, seed: int, device: str = "cpu", precision: str = "auto") -> str:
    """The first precision in which forward and backward run at length 64: fp32, else bf16 autocast.

    Many published mixers cast to bfloat16 themselves and fail beside fp32 weights. Raises what fp32 was refused for
    where neither runs. `precision` other than "auto" is tried alone.
    """
    refused: Failed | None = None
    for name in PRECISIONS if precision == "auto" else (precision,):
        try:
            subject = Subject(make, width, heads, seed, name, device)
            output = subject.forward(subject.fresh(Condition(training=True)), subject.inputs(2, 64))
            attempt("finite", f"a backward pass in {name}", lambda output=output: _backward(output))
            return name
        except Failed as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _backward(output: Tensor) -> None:
    if output.requires_grad:
        output.float().square().mean().backward()


def weights_of(module: nn.Module) -> Weights:
    """A copy of all parameters and buffers, of attributes that are plain numbers or texts (such as step counters), and
    of those that are tensors without a gradient (such as tables of positions)."""
    plain: dict[str, dict[str, Any]] = {}
    tables: dict[str, dict[str, Tensor]] = {}
    for name, part in module.named_modules():
        attributes = vars(part)
        plain[name] = {key: value for key, value in attributes.items() if type(value) in (int, float, str)}
        tables[name] = {
            key: _clone(_detach(value))
            for key, value in attributes.items()
            if type(value) is Tensor and not value.requires_grad
        }
    return Weights({name: _clone(_detach(tensor)) for name, tensor in _tensors_of(module).items()}, plain, tables)


def give_back(module: nn.Module, weights: Weights) -> None:
    """Put weights into a fresh module, in copies. Buffers that it lacks, or has in another shape, were built in a
    forward and are put in their place; parameters of another shape stay as they are."""
    parts = dict(module.named_modules())
    with torch.no_grad():
        for name, saved in weights.tensors.items():
            owner, _, key = name.rpartition(".")
            part = parts.get(owner)
            if part is None:
                continue
            held = part._parameters.get(key, part._buffers.get(key))
            if held is not None and held.shape == saved.shape:
                _copy(held, saved)
            elif key not in part._parameters:
                vars(part).pop(key, None)
                part._buffers[key] = _clone(saved)
    for name, part in parts.items():
        vars(part).update(weights.plain.get(name, {}))
        vars(part).update({key: _clone(table) for key, table in weights.tables.get(name, {}).items()})


def _tensors_of(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def array_of(tensor: Tensor) -> Array:
    """A float32 copy outside of torch."""
    return np.array(_numpy(_to(_detach(tensor), device="cpu", dtype=torch.float32)))


def difference(first: Array, second: Array) -> float:
    """The largest difference relative to the largest number, over what is finite in both; 0.0 where nothing is."""
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return 0.0
    one, other = first[both].astype(np.float64), second[both].astype(np.float64)
    largest = max(np.abs(one).max(), np.abs(other).max())
    return float(np.abs(one - other).max() / largest) if largest > 0 else 0.0
