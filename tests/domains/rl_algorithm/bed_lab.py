"""How tests come by the test bed: its modules, short regimes, and programs to train with."""

from pathlib import Path
from types import SimpleNamespace

from .boundary_lab import FOLDER, imported

(
    tasks,
    model,
    sampling,
    demonstrations,
    warm_start,
    algorithm,
    evaluation,
    loop,
    regimes,
    runs,
    series,
    in_process,
) = imported(
    "bed.tasks",
    "bed.model",
    "bed.sampling",
    "bed.demonstrations",
    "bed.warm_start",
    "training.algorithm",
    "training.evaluation",
    "training.loop",
    "training.regimes",
    "training.runs",
    "training.series",
    "boundary.in_process",
)
REFERENCES = Path(__file__).parent / "references"
BASELINE = FOLDER / "baseline" / "algorithm.py"
SHORT = {
    "steps": 3,
    "stress_steps": 2,
    "flipped_steps": 3,
    "prompts": 8,
    "samples": 4,
    "evaluation_prompts": 48,
    "curve_points": 2,
}


def program(name):
    """GRPO or a reference program, in this process."""
    return in_process.InProcessAlgorithm(BASELINE if name == "grpo" else REFERENCES / f"{name}.py")


def trained(by, regime="on_policy", seed=0, hidden_seed=0, **parameters):
    """A short run: what it came to, the model afterwards, and what was told."""
    weights, told = warm_start.warm_start(), []
    ran = loop.train(
        weights,
        program(by) if isinstance(by, str) else by,
        regimes.regime(regime, {**SHORT, **parameters}),
        seed,
        lambda step, measurements: told.append((step, measurements)),
        hidden_seed,
    )
    return SimpleNamespace(run=ran, model=weights, told=told)


def weights_of(module):
    """All parameters in one vector."""
    return [parameter.detach().clone() for parameter in module.parameters()]
