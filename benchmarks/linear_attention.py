"""What the stand-in for flash-linear-attention costs: CPU milliseconds forward and backward, beside causal SDPA.

All run in turn on one thread in one process, so that what else the machine does falls on all of them; a ratio is the
median over rounds of the ratio to SDPA of the same round. SDPA gets its inputs in its own layout.

    python benchmarks/linear_attention.py --rounds 30
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asi_evolve
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(asi_evolve.__file__).parent / "domains" / "linear_attention"))
from skeleton import kernels

kernels.install("stand_in")
import torch  # noqa: E402
from fla import ops  # noqa: E402
from fla.ops.delta_rule.naive import delta_rule_recurrence  # noqa: E402
from torch.nn import functional  # noqa: E402


def cases(batch: int, length: int, heads: int, width: int) -> dict[str, Callable[[], torch.Tensor]]:
    """name -> forward; tensors that need a gradient are made here."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def leaf(x: torch.Tensor) -> torch.Tensor:
        return x.detach().contiguous().requires_grad_()

    shape = (batch, length, heads)
    q, v = leaf(normal(*shape, width)), leaf(normal(*shape, width))
    k = leaf(functional.normalize(normal(*shape, width), dim=-1))
    beta, g = leaf(normal(*shape).sigmoid()), leaf(functional.logsigmoid(normal(*shape)))
    gk = leaf(functional.logsigmoid(normal(*shape, width)))
    first = [leaf(x.transpose(1, 2)) for x in (q, k, v, beta)]
    return {
        "SDPA, causal": lambda: functional.scaled_dot_product_attention(*first[:3], is_causal=True),
        "chunk_delta_rule": lambda: ops.chunk_delta_rule(q, k, v, beta)[0],
        "chunk_gated_delta_rule": lambda: ops.chunk_gated_delta_rule(q, k, v, g, beta)[0],
        "chunk_kda": lambda: ops.chunk_kda(q, k, v, gk, beta)[0],
        "chunk_gla": lambda: ops.chunk_gla(q, k, v, gk)[0],
        "chunk_simple_gla": lambda: ops.chunk_simple_gla(q, k, v, g)[0],
        "chunk_linear_attn": lambda: ops.chunk_linear_attn(q, k, v, normalize=False)[0],
        "delta rule, token by token": lambda: delta_rule_recurrence(*first, output_final_state=False)[0],
    }


def timed(forward: Callable[[], torch.Tensor]) -> float:
    """CPU milliseconds of forward and backward."""
    start = time.process_time()
    forward().sum().backward()
    return (time.process_time() - start) * 1000


def measured(functions: dict[str, Callable[[], torch.Tensor]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 2):
        for name, function in functions.items():
            elapsed = timed(function)
            if turn >= 2:
                times[name].append(elapsed)
    return times


def row(name: str, times: dict[str, list[float]], reference: str) -> list[str]:
    ratios = [ours / theirs for ours, theirs in zip(times[name], times[reference], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return [name, f"{statistics.median(times[name]):.1f}", f"{middle:.2f}", f"{low:.2f} to {high:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="all times, one JSON object")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    functions = cases(arguments.batch, arguments.length, arguments.heads, arguments.width)
    times = measured(functions, arguments.rounds)
    if arguments.json:
        print(json.dumps(times))
        return
    title = f"B{arguments.batch} T{arguments.length} H{arguments.heads} D{arguments.width}, torch {torch.__version__}"
    table = Table("forward and backward", "CPU ms", "times SDPA", "quartiles", title=title)
    for name in functions:
        table.add_row(*row(name, times, "SDPA, causal"))
    Console().print(table)


if __name__ == "__main__":
    main()
