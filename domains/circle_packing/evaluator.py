"""Trusted: the arrays of a packing -> metrics.json and packing.svg, or one sentence that says why it is no packing.

It works on the returned doubles alone, in exact arithmetic (see exact.py), and never on what the candidate claims.
By hand: `python evaluator.py JOB_FOLDER`.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # -I leaves the script's own folder out

from drawing import contacts_of, draw
from exact import ExactPacking, NotFeasible, solve

LITERATURE_TOLERANCE = 1e-6
"""What published evaluators grant; here it is only told, never scored."""

HONEST_WITHIN = 1e-9
"""A claimed sum may differ by rounding and by what is shrunk away."""


class NotAPacking(Exception):
    """The arrays cannot be read as circles; the message is the sentence for the Researcher."""


def main() -> None:
    """Evaluate one job folder."""
    job = Path(sys.argv[1] if len(sys.argv) > 1 else "/job")
    params = json.loads((job / "params.json").read_text())
    with np.load(job / "outputs" / "packing.npz", allow_pickle=False) as arrays:
        centers, radii, claimed = (arrays[name] for name in ("centers", "radii", "claimed"))
    try:
        answer: dict[str, Any] = {"metrics": _evaluate(centers, radii, claimed, params["parameters"], job / "result")}
    except (NotAPacking, NotFeasible) as refusal:
        answer = {"invalid": _with_tolerant_value(refusal, radii)}
    (job / "result" / "metrics.json").write_text(json.dumps(answer, indent=1, allow_nan=False))


def _evaluate(
    centers: np.ndarray, radii: np.ndarray, claimed: np.ndarray, parameters: dict[str, Any], result: Path
) -> dict[str, float]:
    _check_form(centers, radii, claimed, parameters["n"])
    points, returned = centers.tolist(), radii.tolist()
    exact = solve(points, returned)
    pairs, walls = contacts_of(points, exact.radii)
    title = f"{len(returned)} circles, sum of radii {exact.score!r}"
    (result / "packing.svg").write_text(draw(points, exact.radii, title))
    return {
        **_sums(exact, returned, float(claimed), parameters["best_known"]),
        "contacts": float(len(pairs)),
        "wall_contacts": float(len(walls)),
        "min_radius": min(exact.radii),
        "mean_radius": exact.score / len(returned),
        "radius_spread": float(np.std(exact.radii)),
    }


def _sums(exact: ExactPacking, returned: list[float], claimed: float, best_known: float) -> dict[str, float]:
    returned_sum = math.fsum(returned)
    return {
        "sum_radii": exact.score,
        # Whatever is scored breaks no constraint by more than 1e-9, so an evaluator that grants 1e-6 takes it as it is.
        "sum_radii_tolerant": returned_sum,
        "claimed": claimed,
        "claim_honest": float(abs(claimed - returned_sum) <= HONEST_WITHIN),
        "shrink": exact.shrink,
        "max_violation": exact.max_violation,
        "gap_to_best": best_known - exact.score,
    }


def _check_form(centers: np.ndarray, radii: np.ndarray, claimed: np.ndarray, n: int) -> None:
    for name, array, shape in (("centers", centers, (n, 2)), ("radii", radii, (n,)), ("sum_radii", claimed, ())):
        if array.shape != shape:
            raise NotAPacking(f"Expected {name} of shape {shape}, but got {array.shape}.")
    for name, array in (("centre", centers), ("radius", radii)):
        for word, bad in (("NaN", np.isnan(array)), ("infinite", np.isinf(array))):
            if bad.any():
                first = int(np.argwhere(bad)[0][0])
                raise NotAPacking(f"Expected finite numbers, but the {name} of circle {first} is {word}.")
    if (radii < 0).any():
        first = int(np.argmax(radii < 0))
        raise NotAPacking(f"Expected radii of zero or more, but circle {first} has radius {radii[first]:.6g}.")
    if not np.isfinite(claimed):
        raise NotAPacking(f"Expected sum_radii to be a finite number, but got {float(claimed)}.")


def _with_tolerant_value(refusal: NotAPacking | NotFeasible, radii: np.ndarray) -> str:
    """The sentence, and for a packing that published evaluators would take, the number that they would report."""
    if not isinstance(refusal, NotFeasible) or not refusal.mendable or refusal.amount > LITERATURE_TOLERANCE:
        return str(refusal)
    value = math.fsum(radii.tolist())
    return f"{str(refusal).rstrip('.')}; an evaluator that grants 1e-6 would take it, with a sum of {value:.12g}."


if __name__ == "__main__":
    main()
