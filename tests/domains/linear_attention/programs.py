"""The mixers that lie beside the tests, as makers; imported with the stand-in layer under the name `fla`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch
from asi_evolve import domains

HERE = Path(__file__).parent
FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path.insert(0, str(FOLDER))
from checks import every_check as checks  # noqa: E402, F401 - before any candidate: references to torch are taken here
from skeleton import kernels, mixers  # noqa: E402
from skeleton.mixers import Maker  # noqa: E402

kernels.install("stand_in")
torch.set_num_threads(1)  # as in the sandbox: what is timed there is one thread


def program(path: str | Path) -> Maker:
    """The maker of a file: `cheats/batch_mean`, `honest/dropout`, or a path."""
    file = Path(path) if str(path).endswith(".py") else HERE / f"{path}.py"
    spec = importlib.util.spec_from_file_location(f"candidate_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return mixers.maker(module.mixer if hasattr(module, "mixer") else module.DeltaNet)


BASELINE = program(FOLDER / "baseline" / "mixer.py")
