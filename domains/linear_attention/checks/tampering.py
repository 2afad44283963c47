"""Is torch still what it was before the candidate was imported?

A list of references, taken when this file is imported, to functions that losses, gradients, modules and comparisons go
through. A candidate that replaces one is refused. One that replaces something else, or later, or restores it for the
check is not found here: what a process says of itself is compared with the evaluator's audit, and only the audit is
scored.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn, optim

from checks.finding import Failed, Finding

# Not torch.manual_seed: importing torch._dynamo, which every use of torch.compile does, replaces that.
WATCHED: list[tuple[Any, str]] = [
    *((F, name) for name in ("cross_entropy", "nll_loss", "log_softmax", "softmax", "linear", "embedding")),
    *((torch, name) for name in ("equal", "allclose", "isclose", "isfinite", "autocast", "save", "load")),
    *((Tensor, name) for name in ("backward", "detach", "numpy", "item", "float", "__torch_function__")),
    *((nn.Module, name) for name in ("__call__", "train", "eval", "parameters", "state_dict", "load_state_dict")),
    *((torch.autograd, name) for name in ("backward", "grad")),
    *((np, name) for name in ("savez", "save", "isfinite", "abs", "array")),
    *((json, name) for name in ("dump", "dumps")),
    *((time, name) for name in ("process_time", "perf_counter", "time")),
    (nn.CrossEntropyLoss, "forward"),
    (nn.utils, "clip_grad_norm_"),
    (optim.Optimizer, "zero_grad"),
]

_before = [(owner, name, getattr(owner, name)) for owner, name in WATCHED]


def check_tampering() -> Finding:
    """Raises Refused("tampering", ...) where a watched function is another one than before."""
    for owner, name, was in _before:
        if getattr(owner, name, None) != was:
            where = f"{getattr(owner, '__name__', owner)}.{name}"
            raise Failed(
                "tampering", f"Expected {where} to be left as it is, but the candidate replaced it. Do not patch it."
            )
    return Finding("tampering", "passed", None, None, "The functions of torch that are watched are untouched.")
