"""What surrounds a candidate's two functions: arrays become tensors, a loss becomes its gradient by logp.

It runs where the candidate runs, so nothing here is a defence: the trainer checks what comes out (checking.py). What
it is for: that an honest candidate meets plain tensors, and is told in clear words what its functions have to return.

`logp` is a leaf: a tensor with no graph behind it. Whatever the candidate follows back from its loss ends there, and
old_logp, ref_logp and advantages have no gradient at all.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from boundary import metrics
from boundary.batch import Batch

FUNCTIONS = {
    "compute_advantages": "compute_advantages(batch)",
    "policy_loss": "policy_loss(logp, old_logp, ref_logp, advantages, mask, info)",
}


class CandidateSide:
    """A candidate's module, called with arrays. The three public methods are what goes over the channel."""

    def __init__(self, folder: Path, entry: str) -> None:
        """Import it.

        Args:
            folder: where the candidate's files are; `entry` is one of them.

        Raises:
            AttributeError: it lacks one of the two functions. Besides, whatever its import raises.
        """
        self._folder = folder.resolve()
        self._entry = entry
        self._name = f"candidate_{Path(entry).stem}"
        if str(self._folder) not in sys.path:
            sys.path.append(str(self._folder))
        self._module = self._imported()

    def _imported(self) -> ModuleType:
        """The entry, imported anew with all its neighbours."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and self._folder in Path(file).parents:
                del sys.modules[name]
        spec = importlib.util.spec_from_file_location(self._name, self._folder / self._entry)
        if spec is None or spec.loader is None:
            raise ImportError(f"Expected {self._entry} to be a file of Python.")
        module = sys.modules[self._name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, signature in FUNCTIONS.items():
            if not callable(getattr(module, name, None)):
                raise AttributeError(f"Expected {self._entry} to define {signature}, but it does not.")
        return module

    def begin(self, seed: np.ndarray | int) -> dict[str, np.ndarray]:
        """Forget all that the module remembers, and start random numbers afresh."""
        number = int(seed)
        random.seed(number)
        np.random.seed(number % 2**32)
        torch.manual_seed(number)
        self._module = self._imported()
        return {}

    def compute_advantages(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """`compute_advantages` of a batch (checking.BATCH_FORM): {"advantages": float32 of any shape}."""
        with torch.enable_grad():
            advantages = self._module.compute_advantages(_batch(arrays))
        if not isinstance(advantages, torch.Tensor):
            raise TypeError(
                f"Expected compute_advantages to return a tensor of shape (B,) or (B, T), but got "
                f"{type(advantages).__name__}."
            )
        if advantages.dtype in (torch.bool, torch.complex64, torch.complex128):
            raise TypeError(f"Expected compute_advantages to return real numbers, but got {advantages.dtype}.")
        return {"advantages": _array(advantages, torch.float32)}

    def policy_loss(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """`policy_loss` of a minibatch (checking.loss_arrays), and its gradient: loss float64 (), gradient float32
        (B, T), metric_names and metric_values as in metrics.pack."""
        logp = torch.from_numpy(arrays.pop("logp")).requires_grad_()
        ref_logp, advantages = (torch.from_numpy(arrays.pop(name)) for name in ("ref_logp", "advantages"))
        info = _batch(arrays)
        with torch.enable_grad():
            result = self._module.policy_loss(logp, info.old_logp, ref_logp, advantages, info.mask, info)
        loss, told = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
        value, gradient = _differentiated(loss, logp)
        names, values = metrics.pack(_numbers(told))
        return {"loss": value, "gradient": gradient, "metric_names": names, "metric_values": values}


def _batch(arrays: Mapping[str, np.ndarray]) -> Batch:
    return Batch(**{name: int(array) if array.ndim == 0 else torch.from_numpy(array) for name, array in arrays.items()})  # type: ignore[arg-type] -- which are numbers is said by BATCH_FORM


def _differentiated(loss: Any, logp: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """A loss and its gradient by logp, which is zero where the loss does not depend on it."""
    if type(loss) in (int, float):
        loss = torch.tensor(loss, dtype=torch.float64)
    if not isinstance(loss, torch.Tensor):
        raise TypeError(
            f"Expected policy_loss to return a scalar tensor or (scalar tensor, metrics), but got "
            f"{type(loss).__name__}."
        )
    if loss.shape != ():
        raise TypeError(
            f"Expected policy_loss to return a scalar loss, but got a tensor of shape {tuple(loss.shape)}. Reduce it, "
            f"say by its mean."
        )
    gradient = None
    if loss.requires_grad and logp.requires_grad:
        (gradient,) = torch.autograd.grad(loss, logp, allow_unused=True)
    gradient = torch.zeros_like(logp) if gradient is None else gradient
    return _array(loss, torch.float64), _array(gradient, torch.float32)


def _array(tensor: torch.Tensor, dtype: torch.dtype) -> np.ndarray:
    """The numbers of a tensor of any device, layout or conjugation, in this type."""
    return tensor.detach().to("cpu", dtype).numpy(force=True)


def _numbers(told: Any) -> dict[str, float]:
    """The metrics that are numbers, by names that are strings."""
    if not isinstance(told, Mapping):
        raise TypeError(f"Expected the metrics of policy_loss as a dictionary, but got {type(told).__name__}.")
    numbers = ((name, _number(value)) for name, value in told.items() if isinstance(name, str))
    return {name: number for name, number in numbers if number is not None}


def _number(value: Any) -> float | None:
    if isinstance(value, torch.Tensor):
        return float(value.detach()) if value.numel() == 1 and not value.is_complex() else None
    return float(value) if isinstance(value, (int, float, np.number)) else None
