"""What a mixer may take: parameters, and CPU seconds beside the baseline."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch
from skeleton.mixers import Maker, Refused
from skeleton.model import WITHIN, matched_mlp_width, mixer_parameters
from torch import nn

from checks.finding import Failed, Finding, attempt
from checks.subject import Condition, Subject

SLOWEST = 50.0
"""Times the baseline's CPU seconds for forward and backward at length 64. A loop over tokens takes up to about 10."""
LONGEST_WAIT = 0.25
"""Seconds without work in every one of three short passes: a mixer that sleeps."""


class OutOfTime(BaseException):
    """The clock ran out inside the candidate. Not an Exception, so that the candidate does not catch it by the way."""


@contextlib.contextmanager
def at_most(cpu_seconds: float, doing: str) -> Iterator[None]:
    """Raises Refused("speed", ...) in what is inside, after so many CPU seconds or five times as many wall seconds and
    ten.

    By interval timers, which wake Python code; one long kernel ends first. Only in the main thread, and not nested;
    elsewhere nothing is bounded, and the sandbox's own limits are what there is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(signal_number: int, frame: Any) -> None:  # noqa: ARG001
        raise OutOfTime

    before = [(number, signal.signal(number, ring)) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    signal.setitimer(signal.ITIMER_REAL, 5 * cpu_seconds + 10)
    try:
        yield
    except OutOfTime:
        sentence = f"Expected {doing} within {cpu_seconds:.1f} CPU seconds, but it took longer. Do less for each token."
        raise Failed("speed", sentence, None, cpu_seconds) from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before:
            signal.signal(number, handler)


def check_speed(subject: Subject, reference: Subject, slowest: float = SLOWEST) -> Finding:
    """CPU seconds of forward and backward at batch 4, length 64, beside the reference: the best of three each, in
    turns.

    The bound is wide, so that a busy machine does not decide it; the ratio that counts for the score is measured later.
    Call it outside of `at_most`: while an interval timer runs, Linux counts CPU seconds in ticks of 4 ms.
    """
    own_module, reference_module = (one.fresh(Condition(training=True)) for one in (subject, reference))
    own = base = wait = math.inf
    _step(reference, reference_module)
    for _ in range(3):
        base = min(base, _step(reference, reference_module)[0])
        seconds, waited = _step(subject, own_module)
        own, wait = min(own, seconds), min(wait, waited)
    ratio = own / base
    if ratio > slowest:
        raise Failed(
            "speed",
            f"Expected forward and backward to take at most {slowest:g} times the baseline's CPU seconds, but got "
            f"{ratio:.0f} times ({own:.3f} s for 256 tokens). Do less for each token.",
            ratio,
            slowest,
        )
    if wait > max(LONGEST_WAIT, 10 * own):
        sentence = f"Expected a mixer that computes, but in every pass it waits {wait:.2f} seconds. Do not sleep."
        raise Failed("speed", sentence, wait, LONGEST_WAIT)
    return Finding("speed", "passed", ratio, slowest, f"{ratio:.2f} times the baseline's CPU seconds over 256 tokens.")


def _step(subject: Subject, module: nn.Module) -> tuple[float, float]:
    """Seconds of work and of waiting for forward and backward: CPU seconds, or wall seconds on a GPU."""
    on_gpu = torch.device(subject.device).type == "cuda"
    x = subject.inputs(4, 64, salt=16)
    wall, cpu = time.perf_counter(), time.process_time()
    output = subject.forward(module, x, "speed")
    if output.requires_grad:
        attempt("speed", "a backward pass", output.float().square().mean().backward)
    if on_gpu:
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return (wall, 0.0) if on_gpu else (max(cpu, 1e-6), wall - cpu)


def check_parameters(make: Maker, reference: Maker, width: int, heads: int, mlp_width: int, layers: int = 1) -> Finding:
    """Trainable parameters beside the reference's, at one width and on average over the layers; raises where no MLP
    width makes the blocks equal."""
    doing = f"a mixer of width {width} with {heads} heads for each of {layers} layers"
    own = attempt("constructor", doing, lambda: mixer_parameters(make, width, heads, layers))
    base = mixer_parameters(reference, width, heads, 1)
    ratio = own / max(base, 1)
    try:
        matched = matched_mlp_width(own, base, width, mlp_width)
    except Refused as refused:
        raise Failed(refused.check, refused.sentence, ratio, 1 + WITHIN) from refused
    size = f"{own:,} parameters at width {width}, {ratio:.2f} times the baseline's"
    if matched != mlp_width:
        sentence = f"{size}: the MLP is {matched} wide instead of {mlp_width}, so that blocks are of one size."
        return Finding("parameters", "warning", ratio, 1 + WITHIN, sentence)
    if abs(ratio - 1) > WITHIN:
        sentence = f"{size}; with its MLP a block is within {WITHIN:.0%}, so nothing is rescaled."
        return Finding("parameters", "warning", ratio, 1 + WITHIN, sentence)
    return Finding("parameters", "passed", ratio, 1 + WITHIN, f"{size}.")
