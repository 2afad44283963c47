"""Names that code around flash-linear-attention's kernels imports; without kernels they have nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

device = device_name = "cuda" if torch.cuda.is_available() else "cpu"
device_platform = device
device_torch_lib = getattr(torch, device)
is_amd = is_intel = is_nvidia_hopper = False
is_nvidia = device == "cuda"
autocast_custom_fwd = partial(torch.amp.custom_fwd, device_type=device)
autocast_custom_bwd = partial(torch.amp.custom_bwd, device_type=device)


def input_guard(fn: Callable[..., Any] | None = None, *, no_guard_contiguous: Any = False) -> Callable[..., Any]:  # noqa: ARG001
    """The function as it is: nothing here needs its tensors contiguous."""
    return (lambda function: function) if fn is None else fn


contiguous = input_guard


def tensor_cache(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function as it is."""
    return fn


def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function as it is: it keeps what it computed for the gradient."""
    return fn


def get_abs_err(x: torch.Tensor, y: torch.Tensor) -> float:
    """The largest absolute difference."""
    return (x.detach() - y.detach()).abs().max().item()


def get_err_ratio(x: torch.Tensor, y: torch.Tensor) -> float:
    """The root mean square of the difference over that of x."""
    difference = (x.detach() - y.detach()).square().mean().sqrt().item()
    return difference / (x.detach().square().mean().sqrt().item() + 1e-8)


def check_shared_mem(arch: str = "none", tensor_idx: int = 0) -> bool:  # noqa: ARG001
    """False: there is none to use."""
    return False
