"""How the work of a mixer grows with length, counted and not timed, and how much of it is one token at a time.

Counted are floating-point operations (the formulas of torch.utils.flop_counter) and the elements that aten operations
read and write. FLOPs alone miss elementwise work over T x T, and call fused attention linear where it is not known to
the counter. What no aten operation shows (numpy, ctypes, Triton and other custom kernels) is not counted; the time per
token is measured besides, and flagged where it grows though the counts do not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from checks.finding import Failed, Finding, attempt
from checks.subject import Condition, Subject

LENGTHS = (512, 1024, 2048)
LARGEST_EXPONENT = 1.3
"""T log T is 1.15 here, with what is linear besides less; T^2 with its projections 1.6 and more."""
TIMED = (1024, 4096)
PASSES = (8, 3)
"""Forward passes at each, of which the shortest time counts: a hiccup in a short one would hide the growth."""
LARGEST_TIME_EXPONENT = 1.5
SHORTEST_TIME = 0.02
"""CPU seconds at the longest length below which times are not looked at."""
MOST_OPERATIONS = 1.0
"""Aten operations per token. Measured: mixers in chunks 0.4 to 0.6, a loop over tokens 3.0 and more."""


class WorkCounter(TorchDispatchMode):
    """Counts aten operations, their floating-point operations, and the elements they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.flops = 0
        self.elements = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the first operation imports torch._dynamo and sympy: 1.7 CPU seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        self.operations += 1
        packet = func._overloadpacket
        if packet in flop_registry:
            self.flops += flop_registry[packet](*args, **kwargs, out_val=output)
        elif "scaled_dot_product" in packet.__name__ and len(args) > 1 and isinstance(args[1], Tensor):
            self.flops += _attention_flops(args[0], args[1])
        if not func.is_view:
            self.elements += sum(
                leaf.numel() for leaf in tree_leaves((args, kwargs, output)) if isinstance(leaf, Tensor)
            )
        return output


def _attention_flops(query: Tensor, key: Tensor) -> int:
    """Both products of attention, forward: 4 B H T_q T_k D. For kernels that the registry does not know, such as the
    CPU's."""
    *items, queries, width = query.shape
    return 4 * math.prod(items) * queries * key.shape[-2] * width


def work_of(call: Callable[[], object]) -> int:
    """FLOPs and elements of a call together."""
    with sdpa_kernel(SDPBackend.MATH), WorkCounter() as counter:
        call()
    return counter.flops + counter.elements


def check_cost_of_layers(subject: Subject, layers: int) -> list[Finding]:
    """`check_cost` of the first layer and of every other that does other work: a mixer knows its index, and attention
    in the second layer alone is quadratic too. Of each finding the worst; raises at the first that is refused."""
    found = check_cost(subject)
    loops = any(finding.check == "structure" and finding.verdict != "passed" for finding in found)
    length = LENGTHS[0] if loops else LENGTHS[-1]  # 2,048 turns of a loop for each of 24 layers would take minutes
    known = {_work_of_forward(subject, length)} if layers > 1 else set()
    for layer in range(1, layers):
        other = subject.at_layer(layer)
        work = _work_of_forward(other, length)
        if work in known:
            continue
        known.add(work)
        try:
            also = check_cost(other)
        except Failed as failed:
            raise Failed(failed.check, _in_layer(failed.sentence, layer), failed.value, failed.limit) from failed
        named = [finding._replace(sentence=_in_layer(finding.sentence, layer)) for finding in also]
        found = [max(pair, key=_how_bad) for pair in zip(found, named, strict=True)]
    return found


def _work_of_forward(subject: Subject, length: int) -> tuple[int, int, int]:
    """What one forward pass takes: mixers for which it is the same are taken to be the same."""
    module, x = subject.fresh(Condition(training=True)), subject.inputs(1, length)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), WorkCounter() as counter:
        subject.forward(module, x, "cost")
    return counter.operations, counter.flops, counter.elements


def _in_layer(sentence: str, layer: int) -> str:
    return f"{sentence} This is layer {layer}, which does other work than layer 0."


def _how_bad(finding: Finding) -> tuple[bool, float]:
    return finding.verdict != "passed", finding.value or 0.0


def check_cost(subject: Subject) -> list[Finding]:
    """The findings `cost` and `structure`; raises where the work grows faster than length ** 1.3.

    The exponent is the largest log2 ratio between a length and its double, over the FLOPs of forward, those of forward
    and backward, and the elements of forward. (Elements of backward are left out: torch writes a full-size gradient
    for every slice of a loop over chunks, so that honest mixers look quadratic there. A loop over tokens is counted
    forward only: with its backward that took 12 CPU seconds.)
    """
    counts: dict[str, list[int]] = {"FLOPs": [], "elements read and written": [], "FLOPs of forward and backward": []}
    operations = 0
    for length in reversed(LENGTHS):  # the longest says whether there is a loop over tokens
        module = subject.fresh(Condition(training=True))
        x = subject.inputs(1, length)
        with sdpa_kernel(SDPBackend.MATH), WorkCounter() as counter:
            output = subject.forward(module, x, "cost")
            operations = operations or counter.operations
            counts["FLOPs"].insert(0, counter.flops)
            counts["elements read and written"].insert(0, counter.elements)
            if output.requires_grad and operations <= MOST_OPERATIONS * LENGTHS[-1]:
                attempt("cost", f"a backward pass at length {length}", output.float().square().mean().backward)
            counts["FLOPs of forward and backward"].insert(0, counter.flops)
    exponent, what = max((_exponent(values), name) for name, values in counts.items())
    if exponent > LARGEST_EXPONENT:
        raise Failed(
            "cost",
            f"Expected work that grows at most as length^{LARGEST_EXPONENT}, but the {what} grow as "
            f"length^{exponent:.2f} ({', '.join(f'{count:.2e}' for count in counts[what])} at "
            f"{', '.join(map(str, LENGTHS))} tokens). Keep a state of fixed size instead of comparing all pairs of "
            f"tokens.",
            exponent,
            LARGEST_EXPONENT,
        )
    return [_cost(subject, exponent), _structure(operations / LENGTHS[-1])]


def _exponent(counts: list[int]) -> float:
    """The largest log2 ratio of neighbours; 0.0 where nothing was counted."""
    return max((math.log2(longer / shorter) if shorter and longer else 0.0) for shorter, longer in pairwise(counts))


def _cost(subject: Subject, exponent: float) -> Finding:
    shortest, longest = (_seconds(subject, length, passes) for length, passes in zip(TIMED, PASSES, strict=True))
    growth = math.log(longest / shortest, TIMED[1] / TIMED[0])
    if longest > SHORTEST_TIME and growth > LARGEST_TIME_EXPONENT:
        return Finding(
            "cost",
            "flagged",
            exponent,
            LARGEST_EXPONENT,
            f"The counted work grows as length^{exponent:.2f}, but the time as length^{growth:.2f}: is there work "
            "outside of torch's own operations?",
        )
    sentence = f"The work grows as length^{exponent:.2f}, the time as length^{growth:.2f}."
    return Finding("cost", "passed", exponent, LARGEST_EXPONENT, sentence)


def _seconds(subject: Subject, length: int, passes: int) -> float:
    """Shortest of some forward passes: CPU seconds of this thread, or wall seconds on a GPU.

    Not of the process: while an interval timer runs (`budget.at_most`), Linux counts those in ticks of 4 ms.
    """
    on_cpu = torch.device(subject.device).type == "cpu"
    clock = time.thread_time if on_cpu else time.perf_counter
    module, x, seconds = subject.fresh(), subject.inputs(1, length), math.inf
    for _ in range(passes):
        begun = clock()
        subject.answer(module, x, "cost")  # copies its answer, which waits for a GPU
        seconds = min(seconds, clock() - begun)
    return max(seconds, 1e-6)


def _structure(operations: float) -> Finding:
    if operations > MOST_OPERATIONS:
        return Finding(
            "structure",
            "flagged",
            operations,
            MOST_OPERATIONS,
            f"Expected at most {MOST_OPERATIONS:g} operations of torch per token, but got {operations:.1f}. A loop "
            "over tokens is slow: work on chunks of 32 to 64.",
        )
    sentence = f"{operations:.2f} operations of torch per token."
    return Finding("structure", "passed", operations, MOST_OPERATIONS, sentence)
