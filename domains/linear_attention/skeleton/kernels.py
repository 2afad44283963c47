"""Which `fla` a candidate imports: flash-linear-attention where its kernels work, else the torch-native stand-in.

Without Triton every module of flash-linear-attention fails to import; with Triton and without CUDA everything imports
and fails when it is called. So a kernel is called, forward and backward, and its numbers are compared with the
recurrence before any candidate gets to see it.

Call `prepare_environment` before torch is imported and `install` before the candidate is.
What this is not: a guard. A candidate can put another `fla` on sys.path; the checks look at what it computes.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

STAND_IN = Path(__file__).resolve().parent.parent / "stand_in"
MODES = ("auto", "stand_in", "fla")


@dataclass(frozen=True)
class Kernels:
    """What `import fla` gives from now on. name: "fla" or "stand_in"; reason: one sentence for the report."""

    name: str
    version: str
    reason: str


def prepare_environment(gpus: int | None = None, environment: MutableMapping[str, str] | None = None) -> None:
    """Turns torch.compile into a no-op where there is no GPU; to be called before torch is imported.

    Most published candidates decorate with @torch.compile, and on a CPU one forward of theirs takes minutes to compile.
    gpus: how many this job has; None looks for NVIDIA's device files. What the environment says already stays.
    """
    if environment is None:
        if "torch" in sys.modules:
            raise RuntimeError("Expected torch not to be imported yet, but it is. Call prepare_environment first.")
        environment = os.environ
    if gpus is None:
        hidden = environment.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1")
        gpus = 0 if hidden else len(list(Path("/dev").glob("nvidia[0-9]*")))
    if gpus == 0:
        environment.setdefault("TORCH_COMPILE_DISABLE", "1")


def install(mode: str = "auto") -> Kernels:
    """Decides what `import fla` gives in this process and imports it; where compiling is off, torch.compile is too.

    mode: auto; stand_in: never the real one; fla: the real one, or RuntimeError with what keeps it from working.
    """
    _compile_nothing()
    if mode not in MODES:
        raise ValueError(f"Expected one of the kernels {', '.join(MODES)}, but got {mode!r}. Choose one.")
    reason = "the torch-native stand-in was asked for"
    if mode != "stand_in":
        reason = why_not_real()
        if not reason:
            return Kernels("fla", _version(), "its delta kernel ran on this GPU and agrees with the recurrence")
        if mode == "fla":
            raise RuntimeError(f"Expected flash-linear-attention to work here, but {reason}. Choose auto or stand_in.")
    if not _is_stand_in(sys.modules.get("fla")):
        _forget()
    if str(STAND_IN) in sys.path:
        sys.path.remove(str(STAND_IN))
    sys.path.insert(0, str(STAND_IN))
    importlib.invalidate_caches()
    stand_in = importlib.import_module("fla")
    if not _is_stand_in(stand_in):
        raise RuntimeError(f"Expected `fla` from {STAND_IN}, but got {stand_in.__file__}. Look at sys.meta_path.")
    return Kernels("stand_in", stand_in.__version__, reason)


def _compile_nothing() -> None:
    """With compiling turned off torch.compile still imports its compiler, for 3 CPU s: it gives back what it got."""
    import torch

    if os.environ.get("TORCH_COMPILE_DISABLE") == "1" and not hasattr(torch.compile, "gives_back"):

        def give_back(model=None, **_):  # noqa: ANN001, ANN003, ANN202 - the signature of torch.compile
            return model if model is not None else lambda decorated: decorated

        give_back.gives_back = True  # type: ignore[attr-defined]
        torch.compile = give_back  # type: ignore[assignment]


def why_not_real() -> str:
    """What keeps flash-linear-attention from being used, as half a sentence; empty where it works."""
    import torch

    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    _forget()
    if str(STAND_IN) in sys.path:
        sys.path.remove(str(STAND_IN))
    if importlib.util.find_spec("fla") is None:
        return "flash-linear-attention is not installed"
    try:
        difference = _difference_of_a_tiny_delta_kernel()
    except Exception as error:  # noqa: BLE001 - compilers, drivers and imports of others: each fails in its own way
        return f"its delta kernel fails here with {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if not difference < 0.05:
        return f"its delta kernel is off by {difference:.2g} (relative) from the recurrence on this GPU"
    return ""


def _difference_of_a_tiny_delta_kernel() -> float:
    """Largest relative difference of outputs and gradients to the recurrence over the same bfloat16 numbers."""
    import torch
    from fla.ops.delta_rule import chunk_delta_rule  # pyright: ignore[reportMissingImports]

    generator = torch.Generator(device="cuda").manual_seed(0)
    q, k, v = (torch.randn(1, 80, 2, 32, device="cuda", generator=generator) for _ in range(3))
    beta = torch.rand(1, 80, 2, device="cuda", generator=generator)
    inputs = [x.bfloat16().requires_grad_() for x in (q, k / k.norm(dim=-1, keepdim=True), v, beta)]
    outputs, _ = chunk_delta_rule(*inputs)
    exact = [x.detach().float().requires_grad_() for x in inputs]
    expected = _recurrence(*exact)
    weights = torch.randn(expected.shape, device="cuda", generator=generator)
    gradients = torch.autograd.grad((outputs * weights).sum(), inputs)
    pairs = zip((outputs, *gradients), (expected, *torch.autograd.grad((expected * weights).sum(), exact)), strict=True)
    return max(float((a.float() - b).norm() / b.norm()) for a, b in pairs)


def _recurrence(q, k, v, beta):  # noqa: ANN001, ANN202 - tensors, and torch is not imported above
    """The delta rule token by token (arXiv 2406.06484, eq. 2). q, k, v: (batch, length, heads, width)."""
    import torch

    state, outputs = torch.zeros_like(k[:, 0].unsqueeze(-1) * v[:, 0].unsqueeze(-2)), []
    for t in range(q.shape[1]):
        error = v[:, t] - (k[:, t].unsqueeze(-2) @ state).squeeze(-2)
        state = state + k[:, t].unsqueeze(-1) * (beta[:, t].unsqueeze(-1) * error).unsqueeze(-2)
        outputs.append((q[:, t].unsqueeze(-2) @ state).squeeze(-2) * q.shape[-1] ** -0.5)
    return torch.stack(outputs, 1)


def _is_stand_in(module: ModuleType | None) -> bool:
    return module is not None and Path(str(module.__file__)).parent == STAND_IN / "fla"


def _version() -> str:
    try:
        return importlib.metadata.version("flash-linear-attention")
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get("fla"), "__version__", "unknown"))


def _forget() -> None:
    """An `fla` that was imported before is imported anew."""
    for name in [name for name in sys.modules if name == "fla" or name.startswith("fla.")]:
        del sys.modules[name]
