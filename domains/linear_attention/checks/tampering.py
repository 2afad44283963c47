"""Are torch and the domain's own modules still what they were before the candidate was imported?

A list of references, taken when this file is imported, to functions of torch, numpy and json that losses, gradients,
modules and comparisons go through; and with `watch`, before the candidate is imported, to every function and class of
the domain's own modules, with its code. A candidate that replaces one is refused. One that replaces something else, or
later, or restores it for the check, or ends the process before it, is not found here: what a process says of itself is
compared with the evaluator's audit, and only the audit is scored.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import FunctionType, ModuleType
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


_ours: list[tuple[Any, str, Any]] = []
_code: list[tuple[FunctionType, Any]] = []


def watch(folder: Path) -> None:
    """Remember the functions and classes of all modules in this folder that are imported by now."""
    _ours.clear()
    _code.clear()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and folder in Path(file).parents:
            _remember(module)


def _remember(owner: ModuleType | type) -> None:
    for name, value in list(vars(owner).items()):
        if isinstance(value, (FunctionType, classmethod, staticmethod, property, type)):
            _ours.append((owner, name, value))
        if isinstance(value, FunctionType):
            _code.append((value, value.__code__))
        if isinstance(value, type) and isinstance(owner, ModuleType) and value.__module__ == owner.__name__:
            _remember(value)


def check_tampering() -> Finding:
    """Raises Refused("tampering", ...) where a watched function is another one than before."""
    for owner, name, was in _before:
        if getattr(owner, name, None) != was:
            raise _replaced(owner, name)
    for owner, name, was in _ours:
        if vars(owner).get(name) is not was:
            raise _replaced(owner, name)
    for function, was in _code:
        if function.__code__ is not was:
            raise _replaced(sys.modules.get(function.__module__), function.__qualname__)
    return Finding("tampering", "passed", None, None, "The functions that are watched are untouched.")


def _replaced(owner: Any, name: str) -> Failed:
    where = f"{getattr(owner, '__name__', owner)}.{name}"
    return Failed("tampering", f"Expected {where} to be left as it is, but the candidate replaced it. Do not patch it.")
