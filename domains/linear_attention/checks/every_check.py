"""The named checks of a candidate before it is trained: one finding each, 2 to 6 CPU seconds for DeltaNet.

    constructor, signature, shape   it can be built and called as the interface says
    precision                       fp32, or bf16 autocast where fp32 raises
    speed, parameters               what it takes beside the baseline
    tampering                       torch is as it was before the candidate was imported
    lengths, finite, unused         any length; finite outputs and gradients; parameters that nothing trains (a warning)
    batch, causality, replay        it sees nothing of other items, of the future, of earlier calls
    memory                          the last output depends on the first tokens
    cost, structure                 how work grows with length; a loop over tokens (flagged)

What this is not: a proof, or a defence. The candidate runs in this process, and a hostile one can find out that it is
being checked, behave, and cheat in training; or change the checks themselves. Import this file before the candidate:
references to torch are taken then. These checks tell honest mistakes from good ideas early, with a reason, and make
cheats expensive. Scores stand on held-out answers that this process never has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from skeleton.mixers import Maker, Refused
from torch import nn

from checks.budget import SLOWEST, at_most, check_parameters, check_speed
from checks.causality import check_batch, check_causality, check_object
from checks.cost import check_cost_of_layers
from checks.finding import Finding, refusal
from checks.memory import check_gradients, check_lengths, check_memory
from checks.replay import check_replay
from checks.subject import Subject, find_precision
from checks.tampering import check_tampering
from checks.yardstick import Yardstick

CPU_SECONDS = 40.0
"""For all checks of one candidate; beyond, it is too slow to be trained. DeltaNet takes 2 to 6."""


def run_checks(
    make: Maker,
    *,
    width: int,
    heads: int,
    seed: int,
    precision: str = "auto",
    device: str = "cpu",
    reference: Maker | None = None,
    target: tuple[int, int, int] | None = None,
    layers: int = 1,
    shapes: Sequence[tuple[int, int]] = (),
    all: bool = False,
    cpu_seconds: float = CPU_SECONDS,
    slowest: float = SLOWEST,
) -> list[Finding]:
    """Findings in the order of the checks, up to the first refusal; with `all`, up to the end where that makes sense.

    `width` and `heads` are those of the checks; 64 and 2 are enough, and much more is slow. `target` is (width, heads,
    mlp_width) of the model to be trained, where parameters are counted; default (width, heads, 2 * width). `layers`: of
    that model; a mixer is told its index, so parameters and work are counted for all of them, and everything else is
    looked at in the first. `precision` is "auto", "fp32" or "bf16"; the finding `precision` says which ran. `reference`
    makes the baseline's mixer. `shapes` are the (batch, length) of training, where causality is looked at besides.
    """
    compared = reference or Yardstick
    findings: list[Finding] = []
    try:
        with at_most(cpu_seconds / 4, "construction and a first pass over 128 tokens"):
            ran = find_precision(make, width, heads, seed, device, precision)
            subject = Subject(make, width, heads, seed, ran, device)
            beside = Subject(compared, width, heads, seed, find_precision(compared, width, heads, seed, device), device)
    except Refused as refused:
        return [refusal(refused)]
    for check, sentence in (
        ("constructor", f"It can be built with width {width} and {heads} heads."),
        ("signature", "It can be called as forward(hidden_states)."),
        ("shape", "Its output has the shape of its input."),
        ("precision", f"It runs in {ran}{'' if ran == 'fp32' else ' autocast, and not in fp32'}."),
    ):
        findings.append(Finding(check, "passed", None, None, sentence))
    at = target or (width, heads, 2 * width)
    bounded: list[Callable[[], Finding | list[Finding]]] = [
        check_tampering,
        lambda: check_parameters(make, compared, *at, layers),
        lambda: check_lengths(subject),
        lambda: check_gradients(subject),
        lambda: check_batch(subject),
        lambda: check_causality(subject, shapes),
        lambda: check_replay(subject),
        lambda: check_memory(subject),
        lambda: check_cost_of_layers(subject, layers),
        check_tampering,
    ]
    findings += _findings(lambda: check_speed(subject, beside, slowest))
    begun = time.process_time()
    for check in bounded:
        if findings[-1].verdict == "refused" and not all:
            break
        findings += _findings(check, max(cpu_seconds - (time.process_time() - begun), 0.1))
    return _once(findings)


def _findings(check: Callable[[], Finding | list[Finding]], cpu_seconds: float | None = None) -> list[Finding]:
    """What a check found, its refusal among it; bounded in CPU seconds where they are given."""
    try:
        if cpu_seconds is None:
            found = check()
        else:
            with at_most(cpu_seconds, "the rest of the checks"):
                found = check()
    except Refused as refused:
        return [refusal(refused)]
    return found if isinstance(found, list) else [found]


def _once(findings: list[Finding]) -> list[Finding]:
    """One finding a check: where there are more (torch is looked at before and after), a refusal, else the latest."""
    kept: dict[str, Finding] = {}
    for finding in findings:
        if finding.check not in kept or kept[finding.check].verdict != "refused":
            kept[finding.check] = finding
    return list(kept.values())


def check_trained(
    make: Maker,
    trained: Sequence[nn.Module],
    *,
    width: int,
    heads: int,
    seed: int,
    precision: str,
    device: str = "cpu",
    first: int = 0,
) -> Iterator[Finding]:
    """The finding `causality` for each trained mixer (what `make` made, with its weights), in the order of the layers.

    With the weights and the plain numbers of each in fresh copies, and on the trained object itself. `first` is the
    layer of the first.
    """
    for layer, mixer in enumerate(trained, start=first):
        try:
            check_object(Subject(make, width, heads, seed, precision, device, mixer, layer), mixer)
            subject = Subject(make, width, heads, seed, precision, device, mixer, layer)
            found = check_causality(subject)
        except Refused as refused:
            found = refusal(refused)
        yield found._replace(sentence=f"Layer {layer}, trained: {found.sentence}")
