"""Which `fla` a candidate gets: the real one only where its kernels work, the stand-in everywhere else."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from asi_evolve import domains

torch = pytest.importorskip("torch")

FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path.insert(0, str(FOLDER))
from skeleton import kernels  # noqa: E402


def _run(program: str, *arguments: str, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    extra = {"PYTHONPATH": str(path)} if path else {}
    prelude = f"import sys; sys.path.insert(0, {str(FOLDER)!r})\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + program, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **extra, **environment},
    )


def _has_fla() -> bool:
    try:
        importlib.metadata.version("flash-linear-attention")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_without_cuda_the_stand_in_says_why(no_cuda):
    found = kernels.install()
    import fla

    assert found.name == "stand_in" and found.version == fla.__version__ and "no CUDA device" in found.reason
    assert kernels.install() == found
    assert sys.modules["fla"] is fla


def test_the_real_one_is_refused_where_it_cannot_work(no_cuda):
    with pytest.raises(RuntimeError, match=r"Expected flash-linear-attention to work here, but torch sees no CUDA"):
        kernels.install("fla")
    with pytest.raises(ValueError, match="auto, stand_in, fla, but got 'triton'"):
        kernels.install("triton")


@pytest.mark.slow
def test_another_fla_gives_way_where_it_cannot_work(tmp_path):
    package = tmp_path / "fla" / "ops"
    package.mkdir(parents=True)
    (tmp_path / "fla" / "__init__.py").write_text("from fla import inner")
    (tmp_path / "fla" / "inner.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "only_there.py").write_text("")
    (package / "delta_rule.py").write_text("raise RuntimeError('0 active drivers ([])')")
    done = _run(
        "import torch, fla; from skeleton import kernels\n"
        "first = kernels.install()\n"
        "import fla\n"
        "print(first.name, fla.__version__, 'fla.inner' in sys.modules)\n"
        "torch.cuda.is_available = lambda: True\n"
        "second = kernels.install()\n"
        "from fla.ops.delta_rule import chunk_delta_rule\n"
        "print(second.reason, chunk_delta_rule.__code__.co_filename, sep='|')\n"
        "import fla.ops.only_there\n",
        path=tmp_path,
        CUDA_VISIBLE_DEVICES="",
    )
    first, second = done.stdout.splitlines()
    assert first.split() == ["stand_in", "0.6.0+torch", "False"]
    reason, file = second.split("|")
    assert "fails here with RuntimeError: 0 active drivers" in reason
    assert Path(file).is_relative_to(FOLDER / "stand_in")
    assert "ModuleNotFoundError: Expected something that the torch stand-in" in done.stderr


def test_torch_compile_is_off_without_a_gpu_and_untouched_with_one():
    for gpus, environment, expected in (
        (0, {}, {"TORCH_COMPILE_DISABLE": "1"}),
        (1, {}, {}),
        (None, {"CUDA_VISIBLE_DEVICES": ""}, {"CUDA_VISIBLE_DEVICES": "", "TORCH_COMPILE_DISABLE": "1"}),
        (0, {"TORCH_COMPILE_DISABLE": "0"}, {"TORCH_COMPILE_DISABLE": "0"}),
    ):
        kernels.prepare_environment(gpus, environment)
        assert environment == expected
    with pytest.raises(RuntimeError, match="torch not to be imported yet"):
        kernels.prepare_environment(0)


@pytest.mark.slow
def test_a_compiled_candidate_runs_at_once_without_a_gpu():
    done = _run(
        "from skeleton import kernels; kernels.prepare_environment(0)\n"
        "import torch; kernels.install()\n"
        "from fla.ops.delta_rule import chunk_delta_rule\n"
        "@torch.compile(mode='max-autotune', dynamic=False)\n"
        "def gate(x): return x.sigmoid()\n"
        "@torch.compile\n"
        "def mix(x): return chunk_delta_rule(x, x, x, gate(x[..., 0]))[0]\n"
        "print(tuple(mix(torch.randn(1, 70, 2, 8)).shape), mix.__name__, 'torch._inductor.compile_fx' in sys.modules)\n"
    )
    assert done.stdout.strip() == "(1, 70, 2, 8) mix False", done.stderr


COMPARE = """
import json; from skeleton import kernels
found = kernels.install(sys.argv[1])
import torch
from fla.ops import delta_rule, gated_delta_rule, gla, simple_gla
from fla.modules import FusedRMSNormGated, RMSNorm, ShortConvolution
from fla.modules.l2norm import l2norm
torch.manual_seed(0)
B, T, H, D = 2, 200, 2, 64
q, k, v = (torch.randn(B, T, H, D) for _ in range(3))
k = torch.nn.functional.normalize(k, dim=-1)
beta, g = torch.rand(B, T, H), torch.nn.functional.logsigmoid(torch.randn(B, T, H))
gk = torch.nn.functional.logsigmoid(torch.randn(B, T, H, D))
flat = torch.randn(B, T, 128)
norm, gated, conv = RMSNorm(64).cuda(), FusedRMSNormGated(64).cuda(), ShortConvolution(128, 4).cuda()
conv.weight.data = torch.linspace(-1, 1, 512).view(128, 1, 4).cuda()
cases = {
    "chunk_delta_rule": (lambda *x: delta_rule.chunk_delta_rule(*x)[0], (q, k, v, beta)),
    "fused_recurrent_delta_rule": (lambda *x: delta_rule.fused_recurrent_delta_rule(*x)[0], (q, k, v, beta)),
    "chunk_gated_delta_rule": (lambda *x: gated_delta_rule.chunk_gated_delta_rule(*x)[0], (q, k, v, g, beta)),
    "chunk_gla": (lambda *x: gla.chunk_gla(*x)[0], (q, k, v, gk)),
    "chunk_simple_gla": (lambda *x: simple_gla.chunk_simple_gla(*x)[0], (q, k, v, g)),
    "l2norm": (l2norm, (q,)),
    "RMSNorm": (norm, (q,)),
    "FusedRMSNormGated": (gated, (q, v)),
    "ShortConvolution": (lambda x: conv(x)[0], (flat,)),
}
results = {}
for name, (function, given) in cases.items():
    given = [x.cuda().bfloat16().requires_grad_() for x in given]
    outputs = function(*given)
    weights = torch.linspace(-1, 1, outputs.numel(), device="cuda").view(outputs.shape)
    gradients = torch.autograd.grad((outputs.float() * weights).sum(), given)
    results[name] = [x.detach().float().cpu() for x in (outputs, *gradients)]
torch.save(results, sys.argv[2])
print(json.dumps([found.name, found.version]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="flash-linear-attention's kernels need CUDA")
@pytest.mark.skipif(not _has_fla(), reason="flash-linear-attention is not installed")
def test_stand_in_agrees_with_flash_linear_attention(tmp_path):
    results = {}
    for mode in ("fla", "stand_in"):
        done = _run(COMPARE, mode, str(tmp_path / f"{mode}.pt"))
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout.splitlines()[-1])[0] == mode
        results[mode] = torch.load(tmp_path / f"{mode}.pt")
    for name, expected in results["fla"].items():
        for ours, theirs in zip(results["stand_in"][name], expected, strict=True):
            # both are rounded to bfloat16, whose unit is 0.4 %, and the kernels multiply in it
            assert (ours - theirs).norm() < 0.02 * theirs.norm(), name
