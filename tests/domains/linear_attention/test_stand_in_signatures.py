"""The stand-in can be called as flash-linear-attention 0.6.0 is: names, order and defaults of every argument.

The table was read off the sources of flash-linear-attention 0.6.0 and fla-core 0.6.0 (names and defaults only).
"""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from asi_evolve import domains

pytest.importorskip("torch")

FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path.insert(0, str(FOLDER))
from skeleton import kernels  # noqa: E402

kernels.install("stand_in")
TABLE = json.loads((Path(__file__).parent / "fla_signatures.json").read_text())
METHODS = ("__init__", "forward", "step", "update", "get_seq_length")


def _found(path: str):
    parts = path.split(".")
    for at in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:at]))
        except ImportError:
            continue
        for name in parts[at:]:
            found = getattr(found, name)
        return found
    raise AssertionError(path)


def _signature(function, method: bool) -> list[str]:
    parameters = list(inspect.signature(function).parameters.values())[1 if method else 0 :]
    described = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            described.append("**" + parameter.name)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            continue
        elif parameter.default is parameter.empty:
            described.append(parameter.name)
        else:
            default = parameter.default
            described.append(f"{parameter.name}={default if 'torch' in str(default) else repr(default)}")
    return described


def _same_default(real: str, ours: str) -> bool:
    if real == ours:
        return True
    name, _, default = real.partition("=")
    our_name, _, our_default = ours.partition("=")
    if name != our_name:
        return False
    try:
        return float(default) == float(our_default)
    except ValueError:
        # None where flash-linear-attention asks for a value: no call breaks
        return not default and our_default == "None"


@pytest.mark.parametrize("path", TABLE)
def test_signature_is_that_of_flash_linear_attention(path):
    real = TABLE[path].split(" | ")
    ours = _signature(_found(path), path.rpartition(".")[2] in METHODS)
    if ours[-1:] == ["**kwargs"] and real[-1:] != ["**kwargs"]:
        ours = ours[:-1]
    assert len(ours) == len(real), (real, ours)
    assert [pair for pair in zip(real, ours, strict=True) if not _same_default(*pair)] == []


@pytest.mark.parametrize(
    ("statement", "has"),
    [
        ("from fla.ops.rwkv7 import chunk_rwkv7", "chunk_delta_rule"),
        ("from fla.ops import chunk_rwkv7", "chunk_delta_rule"),
        ("from fla.layers import Mamba2", "GatedDeltaNet"),
        ("import fla.models.delta_net", "Cache"),
        ("from fla.modules.activations import powglu", "swiglu"),
        ("from fla.ops.utils import chunk_local_cumsum", "chunk_gla"),
    ],
)
def test_what_is_not_there_says_what_is(statement, has):
    with pytest.raises(ImportError, match=f"torch stand-in.*{has}.*write `.*` in torch"):
        exec(statement)


def test_asking_for_a_name_that_is_not_there_is_no_error():
    import fla.ops

    assert not hasattr(fla.ops, "chunk_rwkv7")
    assert getattr(fla.ops, "chunk_rwkv7", None) is None


def test_what_published_candidates_import_is_there():
    imports = """
from fla.layers.utils import get_unpad_data, index_first_axis, pad_input, unpad_input
from fla.models.utils import Cache
from fla.modules import FusedRMSNormGated, FusedRMSNormSwishGate, GatedMLP, RMSNorm, RotaryEmbedding, ShortConvolution
from fla.modules.activations import ACT2FN, swiglu
from fla.modules.convolution import ShortConvolution
from fla.modules.feature_map import DPFPFeatureMap, HadamardFeatureMap, HedgehogFeatureMap, T2RFeatureMap
from fla.modules.fused_norm_gate import FusedRMSNormGated
from fla.modules.l2norm import l2_norm, l2norm
from fla.modules.layernorm import RMSNorm, rms_norm
from fla.ops import chunk_delta_rule, chunk_gla
from fla.ops.common import nothing_of_ours
"""
    *possible, impossible = imports.strip().splitlines()
    for statement in possible:
        exec(statement, {})
    with pytest.raises(ImportError):
        exec(impossible, {})


def test_no_module_of_the_stand_in_imports_triton_or_transformers():
    program = (
        "import sys, pkgutil, importlib; sys.path.insert(0, sys.argv[1])\n"
        "for name in ('triton', 'transformers'): sys.modules[name] = None\n"
        "import fla\n"
        "found = [importlib.import_module(x.name) for x in pkgutil.walk_packages(fla.__path__, 'fla.')]\n"
        "print(len(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(FOLDER / "stand_in")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50
