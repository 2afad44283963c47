"""A candidate's file -> its mixer class -> a module that maps (batch, length, width) to the same shape.

Candidates follow the interface of flash-linear-attention's layers, with the small differences that published search
systems have: other names for the width, arguments without defaults, an auxiliary loss as the second value. All of that
ends here. This is no defence: the class is foreign code, and it runs in this process.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Maker = Callable[[int, int, int], nn.Module]
"""(hidden_size, num_heads, layer_idx) -> a fresh mixer with forward (batch, length, width) -> the same shape."""

WIDTH_NAMES = ("hidden_size", "d_model", "dim", "embed_dim", "n_embd")
HEADS_NAMES = ("num_heads", "n_heads", "heads", "n_head", "nhead")
LAYER_NAMES = ("layer_idx", "layer_id", "layer_index")

DELTANET_ARGUMENTS: dict[str, Any] = {
    "mode": "chunk",
    "expand_k": 1.0,
    "expand_v": 1.0,
    "use_beta": True,
    "use_gate": False,
    "use_output_norm": True,
    "use_short_conv": True,
    "conv_size": 4,
    "conv_bias": False,
    "allow_neg_eigval": False,
    "qk_activation": "silu",
    "qk_norm": "l2",
    "norm_eps": 1e-5,
    "dropout": 0.0,
}
"""What a DeltaNet layer is made with; given only where a constructor has no default of its own."""

FORWARD_ARGUMENTS: dict[str, Any] = {
    "attention_mask": None,
    "past_key_values": None,
    "use_cache": False,
    "output_attentions": False,
}
"""Windows have a fixed length and nothing is generated token by token, so these never say anything else."""


class Refused(Exception):
    """The candidate cannot be judged, and why: `check` names the check, `sentence` is for the Researcher."""

    def __init__(self, check: str, sentence: str) -> None:
        super().__init__(f"{check}: {sentence}")
        self.check = check
        self.sentence = sentence


def load(folder: Path, entry: str) -> type[nn.Module]:
    """The mixer class of the module `entry`: what it calls `mixer`, else its class DeltaNet.

    Raises Refused where there is none, and whatever importing the candidate raises.
    """
    _no_name_twice(folder)
    sys.path.insert(0, str(folder))  # PYTHONSAFEPATH leaves it out, and the candidate may import files beside its own
    module = importlib.import_module(entry.removesuffix(".py"))
    for name in ("mixer", "DeltaNet"):
        found = getattr(module, name, None)
        if isinstance(found, type) and issubclass(found, nn.Module):
            return found
    raise Refused("constructor", _no_class(module, entry))


def from_file(path: Path, name: str) -> type[nn.Module]:
    """The class DeltaNet of a file of ours, imported under another name than the candidate's."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.DeltaNet


def _no_name_twice(folder: Path) -> None:
    """A neighbour named like a loaded module would never be imported: Python would hand out the loaded one."""
    for path in sorted(folder.iterdir()):
        if path.stem in sys.modules and path.suffix in (".py", ""):
            raise Refused(
                "constructor",
                f"Expected files with names of their own, but {path.name} is named like a module that is loaded "
                "already. Rename it.",
            )


def _no_class(module: Any, entry: str) -> str:
    classes = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module.__name__
    ]
    came = f"its modules are {', '.join(classes)}" if classes else "it defines no torch.nn.Module"
    hint = f"Add `mixer = {classes[-1]}`." if classes else "Define `class DeltaNet(nn.Module)`."
    return f"Expected {entry} to define a class DeltaNet, or mixer = ClassName, but {came}. {hint}"


def maker(cls: type[nn.Module]) -> Maker:
    """The Maker of a candidate's class."""

    def make(hidden_size: int, num_heads: int, layer_idx: int) -> nn.Module:
        return Mixed(cls, hidden_size, num_heads, layer_idx)

    return make


class Mixed(nn.Module):
    """A candidate's mixer as the block skeleton uses it: one tensor in, one of the same shape and dtype out."""

    def __init__(self, cls: type[nn.Module], hidden_size: int, num_heads: int, layer_idx: int) -> None:
        super().__init__()
        arguments = constructor_arguments(cls, hidden_size, num_heads, layer_idx)
        self.mixer = cls(**arguments)
        self.auxiliary_loss: Tensor | None = None
        self._arguments = forward_arguments(self.mixer)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, length, width) -> the same; raises Refused for an answer of another kind or shape."""
        answer = self.mixer(hidden_states, **self._arguments)
        output, self.auxiliary_loss = _read(answer)
        if output.shape != hidden_states.shape:
            raise Refused(
                "shape",
                f"Expected an output of shape {tuple(hidden_states.shape)}, that of hidden_states, "
                f"but got {tuple(output.shape)}.",
            )
        if not output.is_floating_point():
            raise Refused("shape", f"Expected an output of floating-point numbers, but got {output.dtype}.")
        return output.to(hidden_states.dtype)


def constructor_arguments(cls: type[nn.Module], hidden_size: int, num_heads: int, layer_idx: int) -> dict[str, Any]:
    """Keyword arguments for the constructor; raises Refused where it wants one that nothing is known for."""
    parameters = inspect.signature(cls).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    given: dict[str, Any] = {}
    for names, value in ((WIDTH_NAMES, hidden_size), (HEADS_NAMES, num_heads), (LAYER_NAMES, layer_idx)):
        given |= _under_its_name(parameters, names, value, takes_any)
    known = {**DELTANET_ARGUMENTS, "head_dim": hidden_size // num_heads}
    for name, parameter in parameters.items():
        if name in given or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise Refused("constructor", f"Expected a keyword constructor, but {cls.__name__} has {name} by position.")
        if parameter.default is parameter.empty:
            if name not in known:
                raise Refused(
                    "constructor",
                    f"Expected {cls.__name__}(hidden_size=..., num_heads=..., layer_idx=...) to be enough, "
                    f"but it also needs {name}. Give it a default.",
                )
            given[name] = known[name]
    return given


def _under_its_name(parameters: Any, names: tuple[str, ...], value: int, takes_any: bool) -> dict[str, int]:
    """The value under the first name that the constructor has, and under others whose default would contradict it."""
    has = [name for name in names if name in parameters]
    if not has:
        return {names[0]: value} if takes_any else {}
    return {name: value for name in has if name == has[0] or parameters[name].default is not None}


def forward_arguments(mixer: nn.Module) -> dict[str, Any]:
    """What forward needs besides hidden_states; raises Refused where it cannot be called with these."""
    try:
        parameters = list(inspect.signature(mixer.forward).parameters.values())
    except (TypeError, ValueError):  # a forward without a signature, such as one compiled: call it and see
        return {}
    needed: dict[str, Any] = {}
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    if not positional:
        raise Refused("signature", "Expected forward(hidden_states, ...), but it takes no positional argument.")
    for parameter in parameters:
        if parameter is positional[0] or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.default is parameter.empty:
            if parameter.name not in FORWARD_ARGUMENTS:
                raise Refused(
                    "signature",
                    f"Expected forward(hidden_states) to be enough, but it also needs {parameter.name}. "
                    "Give it a default.",
                )
            needed[parameter.name] = FORWARD_ARGUMENTS[parameter.name]
    return needed


def _read(answer: Any) -> tuple[Tensor, Tensor | None]:
    """Output and auxiliary loss of (output, auxiliary or None, past_key_values), (output, ...) or output."""
    values: list[Any] = list(answer) if isinstance(answer, (tuple, list)) else [answer]
    if not values or not isinstance(values[0], Tensor):
        came = f"{type(answer).__name__} of {type(values[0]).__name__}" if values else "an empty tuple"
        came = came if isinstance(answer, (tuple, list)) else type(answer).__name__
        raise Refused(
            "signature",
            f"Expected forward to return (output, auxiliary loss or None, past_key_values), but got {came}.",
        )
    auxiliary = values[1] if len(values) > 1 else None
    if isinstance(auxiliary, Tensor) and auxiliary.numel() == 1 and auxiliary.is_floating_point():
        return values[0], auxiliary.reshape(()).float()
    if isinstance(auxiliary, float):
        return values[0], torch.tensor(auxiliary)
    return values[0], None  # None, or the attention weights that flash-linear-attention's layers may have there
