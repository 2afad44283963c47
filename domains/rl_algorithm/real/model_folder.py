"""A Hugging Face model folder: which of its files are wanted, and how it is read without a network.

Only weights as safetensors are read, and no code that a folder may bring: pickled weights and custom models run
programs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")


def files_of(folder: Path) -> list[Path]:
    """The files of a model folder that are wanted here.

    Raises:
        ValueError: it is no model folder, or its weights are not as safetensors.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"Expected a Hugging Face model folder at {folder}, but it has no config.json. Name the folder that "
            "save_pretrained or `hf download` wrote."
        )
    files = sorted({path for pattern in WANTED for path in folder.glob(pattern) if path.is_file()})
    if not any(path.suffix == ".safetensors" for path in files):
        raise ValueError(
            f"Expected weights as *.safetensors in {folder}, but there are none. Load the model and save it with "
            "save_pretrained(folder), which writes them."
        )
    if "auto_map" in json.loads((folder / "config.json").read_text(encoding="utf-8")):
        raise ValueError(
            f"Expected a model that transformers knows, but {folder} brings its own code (auto_map in config.json), "
            "which is not run here. Use a model without it."
        )
    if not any(path.name.startswith(("tokenizer", "vocab", "spiece")) for path in files):
        raise ValueError(f"Expected a tokenizer beside the model in {folder}, but there is none. Save it there too.")
    return files


def load(folder: Path, device: str) -> tuple[Any, Any]:
    """Model in float32 on `device`, and its tokenizer, padding on the left.

    Raises:
        ValueError, OSError: transformers cannot read it.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
    if tokenizer.eos_token_id is None:
        raise ValueError("Expected a tokenizer with an end token (eos_token), but it has none. Set one and save it.")
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype="float32"
    )
    return model.to(device), tokenizer
