"""A Qwen2 of a few thousand parameters with a tokenizer of characters, made from a configuration, and problems for it."""

from __future__ import annotations

import json
from pathlib import Path

CHARACTERS = "0123456789+= "
PAD, END = "<pad>", "<end>"


def make_model_folder(folder: Path, *, seed: int = 0) -> Path:
    """A model folder as save_pretrained writes it, with random weights."""
    import tokenizers
    import torch
    import transformers

    vocabulary = {token: place for place, token in enumerate([PAD, END, *CHARACTERS])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=PAD))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    inner.decoder = tokenizers.decoders.Fuse()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=PAD, eos_token=END)
    torch.manual_seed(seed)
    config = transformers.Qwen2Config(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    transformers.Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_data(folder: Path) -> Path:
    """model/, problems.jsonl and held_out.jsonl: sums whose answer is 7, so that a little training can show."""
    make_model_folder(folder / "model")
    rows = [{"prompt": f"{a}+{7 - a}=", "answer": "7", "task": "even" if a % 2 == 0 else "odd"} for a in range(8)]
    for name, part in (("problems.jsonl", rows[:6]), ("held_out.jsonl", rows[6:])):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    return folder
