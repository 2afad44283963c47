"""Trusted, before everything else: the text to train on, the questions for the trained model, and their answers.

Writes into JOB/out
    train/    the token file that the language model learns from (see tasks/token_file.py); not where data/train has one
    inputs/   TASK.npz: tokens (rows, length), positions (rows, questions), for the predict
    hidden/   TASK.npz: labels, weights, pairs, vocabulary (and bytes_per_token), for the evaluator alone

Questions and held-out text are drawn with the hidden seed, text to train on with the open one: harness and candidate
could make it again. At stage check nothing is trained, and nothing is written. By hand: `python generator.py
JOB_FOLDER`.

Parameters: `tasks` and `checkpoints`, words with spaces between; TASK_length and TASK_OPTION (see tasks/synthetic.py);
`audit_rows`, `lm_audit_rows`, `lm_audit_questions`, `lm_train_bytes`, `lm_held_out_bytes`.
"""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from tasks import corpus, downstream_requests, questions, token_file
from tasks.synthetic import from_parameters

LANGUAGE_MODEL = "lm"
OPEN = 0x0BE2
"""Tells the streams that are drawn with the open seed from the harness's own."""


class HeldOut(NamedTuple):
    """Text to ask about; `askable` is None where any token may be asked."""

    tokens: np.ndarray
    askable: np.ndarray | None
    vocabulary: int
    bytes_per_token: float
    words_drawn: bool


def main() -> None:
    """Make the data of one job folder."""
    job = Path(sys.argv[1] if len(sys.argv) > 1 else "/job")
    params = json.loads((job / "params.json").read_text())
    parameters, seed, hidden_seed = params["parameters"], params["seed"], params["hidden_seed"]
    if tasks := str(parameters.get("downstream", "")).split():
        downstream_requests.carry(job, tasks)
    for name in str(parameters["tasks"]).split():
        rng = np.random.default_rng([hidden_seed, zlib.crc32(name.encode())])
        if name == LANGUAGE_MODEL:
            held_out = language(job, parameters, seed, rng)
            asked = questions.of_text(
                rng,
                held_out.tokens,
                held_out.askable,
                rows=parameters.get("lm_audit_rows", 256),
                length=parameters["lm_length"],
                questions=parameters.get("lm_audit_questions", 4),
                word_start=held_out.words_drawn,
            )
            save(job / "out", name, asked, held_out.vocabulary, held_out.bytes_per_token)
        else:
            task = from_parameters(name, parameters)
            asked = questions.of_task(task, rng, parameters.get("audit_rows", 128), parameters[f"{name}_length"])
            save(job / "out", name, asked, task.vocabulary)


def save(out: Path, name: str, asked: questions.Questions, vocabulary: int, bytes_per_token: float = 0.0) -> None:
    """Tokens and positions to inputs/, all else to hidden/."""
    for part, arrays in (
        ("inputs", {"tokens": asked.tokens, "positions": asked.positions}),
        (
            "hidden",
            {
                "labels": asked.labels,
                "weights": asked.weights,
                "pairs": asked.pairs,
                "vocabulary": np.int64(vocabulary),
                "bytes_per_token": np.float64(bytes_per_token),
            },
        ),
    ):
        (out / part).mkdir(parents=True, exist_ok=True)
        np.savez(out / part / f"{name}.npz", **arrays)  # type: ignore[arg-type]


def language(job: Path, parameters: dict[str, Any], seed: int, rng: np.random.Generator) -> HeldOut:
    """Write the text to train on where it is not there already, and return the text to ask about.

    Text of the user is in the domain's data/train and data/hidden, as a token file each or as .txt and .jsonl files
    each.
    """
    train, hidden = job / "train", job / "hidden"
    if token_file.is_there(train) or token_file.is_there(hidden):
        return _token_files(train, hidden)
    train_bytes = int(parameters.get("lm_train_bytes", 2_000_000))
    held_out_bytes = int(parameters.get("lm_held_out_bytes", 200_000))
    mine, asked = corpus.text_files(train), corpus.text_files(hidden)
    if bool(mine) != bool(asked):
        raise SystemExit(
            "Expected text both in data/train and in data/hidden of the domain, but only one has some. "
            "Split it with prepare.py, or put held-out documents into data/hidden."
        )
    if mine:
        text = corpus.as_it_is(corpus.text_documents(mine, train_bytes))
        held_out = corpus.as_it_is(corpus.text_documents(asked, held_out_bytes))
        _write_bytes(job / "out" / "train", text.tokens, corpus.BYTES, "text of the user")
        return HeldOut(held_out.tokens, held_out.askable, corpus.VOCABULARY, 1.0, words_drawn=False)
    documents, kept = corpus.standard_library(train_bytes, held_out_bytes)
    words = corpus.Words(documents)
    text = corpus.rewritten(documents, words, np.random.default_rng([seed, OPEN]))
    _write_bytes(job / "out" / "train", text.tokens, corpus.DRAWN_BYTES, "standard library, words drawn anew")
    held_out = corpus.rewritten(kept, words, rng)
    return HeldOut(held_out.tokens, held_out.askable, corpus.VOCABULARY, 1.0, words_drawn=True)


def _token_files(train: Path, hidden: Path) -> HeldOut:
    learnt, asked = token_file.read(train), token_file.read(hidden)
    for what in ("vocabulary", "tokenizer"):
        if getattr(learnt, what) != getattr(asked, what):
            raise SystemExit(
                f"Expected token files of one {what}, but data/train has {getattr(learnt, what)!r} and data/hidden "
                f"{getattr(asked, what)!r}. Make both in one run of prepare.py."
            )
    return HeldOut(asked.tokens, None, asked.vocabulary, asked.bytes_per_token, words_drawn=False)


def _write_bytes(folder: Path, tokens: np.ndarray, tokenizer: str, source: str) -> None:
    writer = token_file.Writer(folder, corpus.VOCABULARY)
    writer.add(tokens)
    writer.finish(text_bytes=len(tokens), documents=0, tokenizer=tokenizer, source=source)


if __name__ == "__main__":
    main()
