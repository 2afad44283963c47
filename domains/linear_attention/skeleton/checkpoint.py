"""Models on their way from the fit to the predict: plain tensors and plain numbers in files, and the asking of models.

A checkpoint is `TASK@PERCENT.pt`, the fields of `checks.subject.Weights`: "tensors" are all parameters and buffers by
name, "plain" the numbers and texts among the attributes of every module, such as step counters, "tables" the tensors
there. `models.json` says how the models are built. Nothing is unpickled but tensors, numbers and texts (weights_only),
though the predict runs the candidate's code anyway.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from checks.subject import Weights, casting, give_back, weights_of
from torch import nn

from skeleton.mixers import Maker
from skeleton.model import WITHIN, LanguageModel, mixer_parameters, parameters_of

MODELS = "models.json"
"""Only there where something was trained."""


class Built(NamedTuple):
    """How the models of a run are built, but for the vocabulary, which the task has."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    precision: str
    """fp32 or bf16."""

    def model(self, vocabulary: int, make: Maker) -> LanguageModel:
        """A fresh model."""
        return LanguageModel(vocabulary, self.width, self.layers, self.heads, make, self.mlp_width)


def write_models(folder: Path, built: Built, vocabularies: Mapping[str, int], checkpoints: list[str]) -> None:
    """Leave models.json."""
    told = {"built": built._asdict(), "vocabularies": dict(vocabularies), "checkpoints": checkpoints}
    (folder / MODELS).write_text(json.dumps(told, indent=1))


def read_models(folder: Path) -> tuple[Built, dict[str, int], list[str]]:
    """The inverse of `write_models`."""
    told = json.loads((folder / MODELS).read_text())
    return Built(**told["built"]), told["vocabularies"], told["checkpoints"]


def check_models(built: Built, tasks: list[str], shares: list[str], parameters: Mapping[str, Any]) -> None:
    """Raises RuntimeError where models.json is not about the models that the parameters of the stage ask for."""
    asked = {
        "tasks": str(parameters["tasks"]).split(),
        "checkpoints": str(parameters.get("checkpoints", "50 75 100")).split(),
        **{name: parameters[name] for name in ("width", "layers", "heads")},
    }
    told = {
        "tasks": tasks,
        "checkpoints": shares,
        **{name: getattr(built, name) for name in ("width", "layers", "heads")},
    }
    for name, wanted in asked.items():
        if told[name] != wanted:
            raise RuntimeError(f"Expected models with {name} {wanted}, but {MODELS} says {told[name]}.")


def most_parameters(built: Built, baseline: Maker, mlp_width: int) -> int:
    """What all blocks of a model may have together: `matched_mlp_width` brings every honest one below."""
    budget = mixer_parameters(baseline, built.width, built.heads, 1) + 3 * built.width * mlp_width
    return round(built.layers * (1 + WITHIN) * budget)


def check_size(model: LanguageModel, most: int) -> None:
    """Raises RuntimeError where mixers and MLPs of a model together have more parameters than `most`."""
    came = sum(parameters_of(part) for block in model.blocks for part in (block.mixer, block.mlp))  # type: ignore[arg-type]
    if came > most:
        raise RuntimeError(f"Expected at most {most:,} parameters in the blocks of the model, but got {came:,}.")


def save(path: Path, model: nn.Module) -> None:
    """Write a checkpoint."""
    tensors, plain, tables = weights_of(model)
    on_cpu = {
        "tensors": {name: tensor.cpu() for name, tensor in tensors.items()},
        "plain": plain,
        "tables": {part: {name: table.cpu() for name, table in held.items()} for part, held in tables.items()},
    }
    torch.save(on_cpu, path)


def restore(path: Path, model: nn.Module, device: str = "cpu") -> None:
    """Give a fresh model, on its device, what a checkpoint has.

    Raises RuntimeError where a parameter is missing or of another shape. What a mixer keeps in lists, in dictionaries
    or in objects of its own stays as the constructor made it.
    """
    saved = Weights(**torch.load(path, map_location=device, weights_only=True))
    for name, parameter in model.named_parameters():
        if name not in saved.tensors or saved.tensors[name].shape != parameter.shape:
            came = tuple(saved.tensors[name].shape) if name in saved.tensors else "none"
            raise RuntimeError(
                f"Expected parameter {name} of shape {tuple(parameter.shape)} in {path.name}, but got {came}. "
                "Create all parameters in the constructor, and the same ones each time."
            )
    give_back(model, saved)


def answer(
    model: nn.Module, tokens: np.ndarray, positions: np.ndarray, *, rows: int, device: str, precision: str
) -> np.ndarray:
    """Logits (rows, questions, vocabulary) float32 of tokens (rows, length) at positions (rows, questions).

    `rows`: of one forward pass. The model is left in evaluation mode.
    """
    model.eval()
    answers = []
    for start in range(0, len(tokens), rows):
        part = torch.from_numpy(tokens[start : start + rows]).to(device)
        places = torch.from_numpy(positions[start : start + rows]).to(device)
        with torch.no_grad(), casting(precision, device):
            logits = model(part)
        index = places.unsqueeze(-1).expand(-1, -1, logits.shape[-1])
        answers.append(logits.gather(1, index).float().cpu().numpy())
    return np.concatenate(answers)


def loss_of(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """Mean cross entropy in nats over questions (rows, questions) with their weights, as the evaluator computes it."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=-1)) - np.take_along_axis(shifted, labels[..., None], -1)[..., 0]
    return math.fsum((losses * weights).ravel()) / float(weights.sum())
