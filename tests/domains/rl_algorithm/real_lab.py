"""What the tests of the stages on real models share: a model made from a configuration, and problems for it."""

import json

from .boundary_lab import FOLDER

BASELINE = (FOLDER / "baseline" / "algorithm.py").read_text(encoding="utf-8")
CHARACTERS = "0123456789+= "
PAD, END = "<pad>", "<end>"


def make_model_folder(folder):
    """A Qwen2 of 21,000 parameters with a tokenizer of characters, out of a configuration."""
    import tokenizers
    import torch
    import transformers

    vocabulary = {token: place for place, token in enumerate([PAD, END, *CHARACTERS])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=PAD))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    inner.decoder = tokenizers.decoders.Fuse()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=PAD, eos_token=END)
    torch.manual_seed(0)
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


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_data(folder):
    """model/, problems.jsonl and held_out.jsonl: sums whose answer is 7, so that a little training shows."""
    make_model_folder(folder / "model")
    rows = [{"prompt": f"{a}+{7 - a}=", "answer": "7", "task": "even" if a % 2 == 0 else "odd"} for a in range(8)]
    write_rows(folder / "problems.jsonl", rows[:6])
    write_rows(folder / "held_out.jsonl", rows[6:])
    return folder
