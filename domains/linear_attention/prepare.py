"""Make token files for the language model from your own text, or from a Hugging Face data set where there is a network.

    python prepare.py --text notes/*.txt corpus.jsonl                    # bytes are the tokens
    python prepare.py --text corpus.jsonl --tokenizer tokenizer.json     # of the package `tokenizers`
    python prepare.py --dataset HuggingFaceFW/fineweb-edu --config sample-10BT --tokens 100000000 --tokenizer t.json
    python prepare.py --check data

Writes data/train and data/hidden of this domain (or of --out), each a tokens.bin with a meta.json that tells counts and
a hash (see tasks/token_file.py). A document goes to one or the other by the hash of its text, so that copies of it stay
together and held-out text is never learnt from, whatever the order. Text and token files in data/hidden are seen by no
candidate.

What this is not: a cleaning or deduplication of near copies; bring clean text. The domain's folder in an installed
package is shared by all campaigns: copy the domain's folder first, and start campaigns with the copy's path.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from tasks import corpus, token_file

PART = 16_384
"""Bytes; documents of more than twice as many are split in parts, each held out or not."""

AT_ONCE = 256
"""Documents that a tokenizer is given at a time."""


class Tokenizer(NamedTuple):
    """How documents become ids; `separator` stands between two documents."""

    name: str
    vocabulary: int
    separator: int
    encode: Callable[[Sequence[bytes]], list[np.ndarray]]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(arguments)
    try:
        if options.check:
            check(options.check)
            return
        tokenizer = given_tokenizer(options.tokenizer, options.separator) if options.tokenizer else byte_level()
        documents, source = _documents(options)
        made = prepare(documents, tokenizer, options.out, source=source, most_tokens=options.tokens)
    except (OSError, ValueError, RuntimeError) as error:
        raise SystemExit(f"prepare.py: {error}") from error
    for part, meta in made.items():
        print(
            f"{options.out / part}: {meta['tokens']:,} tokens of {meta['documents']:,} documents, {meta['sha256'][:16]}"
        )


def prepare(
    documents: Iterable[bytes], tokenizer: Tokenizer, out: Path, *, source: str = "", most_tokens: int | None = None
) -> dict[str, dict[str, Any]]:
    """Write out/train and out/hidden and return what their meta.json say, until `most_tokens` are there to train on.

    Nothing is replaced before both are complete. Raises ValueError where one of them would be empty.
    """
    parts = {name: token_file.Writer(out / name, tokenizer.vocabulary) for name in ("train", "hidden")}
    sizes, counts = dict.fromkeys(parts, 0), dict.fromkeys(parts, 0)
    try:
        for batch in _batches(documents, AT_ONCE):
            for document, ids in zip(batch, tokenizer.encode(batch), strict=True):
                part = "hidden" if corpus.is_held_out(document) else "train"
                if counts[part]:
                    parts[part].add(np.asarray([tokenizer.separator]))
                parts[part].add(ids)
                sizes[part] += len(document)
                counts[part] += 1
            if most_tokens is not None and parts["train"].count >= most_tokens:
                break
        if not all(writer.count for writer in parts.values()):
            raise ValueError(
                f"Expected documents for both parts, but got {counts['train']} to train on and {counts['hidden']} held "
                f"out: one in {corpus.HELD_OUT} is held out, by its hash. Give more text."
            )
        return {
            part: writer.finish(text_bytes=sizes[part], documents=counts[part], tokenizer=tokenizer.name, source=source)
            for part, writer in parts.items()
        }
    finally:
        for writer in parts.values():
            writer.abandon()


def byte_level() -> Tokenizer:
    """Every byte is a token; documents are separated by a zero."""
    return Tokenizer(
        "bytes",
        corpus.VOCABULARY,
        corpus.SEPARATOR,
        lambda batch: [np.frombuffer(document, dtype=np.uint8) for document in batch],
    )


def given_tokenizer(path: Path, separator: str | None) -> Tokenizer:
    """A tokenizer.json. `separator` is a token of it; the first there is of some usual ones where None."""
    try:
        import tokenizers  # wanted by those alone who bring a tokenizer
    except ImportError as error:
        raise RuntimeError("Expected the package tokenizers for --tokenizer. Do: pip install tokenizers") from error
    if not path.is_file():
        raise ValueError(f"Expected a tokenizer.json at {path}, but there is none.")
    try:
        model = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception over a file that it cannot read
        raise ValueError(f"Expected a tokenizer.json of the package tokenizers, but {path}: {error}.") from error
    usual = (separator,) if separator else ("<|endoftext|>", "</s>", "<eos>", "[SEP]", "<|end_of_text|>")
    ids = [found for token in usual if (found := model.token_to_id(token)) is not None]
    if not ids:
        raise ValueError(f"Expected one of the tokens {usual} in {path}, but it has none. Name one with --separator.")

    def encode(batch: Sequence[bytes]) -> list[np.ndarray]:
        texts = [document.decode("utf-8", "replace") for document in batch]
        return [np.asarray(found.ids, dtype=np.int64) for found in model.encode_batch(texts, add_special_tokens=False)]

    return Tokenizer(path.name, model.get_vocab_size(), ids[0], encode)


def hugging_face(dataset: str, config: str | None, split: str, column: str) -> Iterator[bytes]:
    """Texts of a data set on the Hub, streamed: needs the package `datasets` and a network."""
    try:
        import datasets  # pyright: ignore[reportMissingImports] -- wanted by those alone who have a network
    except ImportError as error:
        raise RuntimeError("Expected the package datasets for --dataset. Do: pip install datasets") from error
    for row in datasets.load_dataset(dataset, config, split=split, streaming=True):
        if not isinstance(row.get(column), str):
            raise ValueError(
                f"Expected a text column {column!r} in {dataset}, but got {sorted(row)}. Name it by --column."
            )
        if row[column]:
            yield row[column].encode()


def check(out: Path) -> None:
    """Raises ValueError where a file is not what its meta.json says."""
    for part in ("train", "hidden"):
        read = token_file.read(out / part)
        said, is_so = token_file.digest(out / part)
        if said != is_so:
            raise ValueError(f"Expected {out / part} with sha256 {said}, but it has {is_so}. Make it again.")
        if (largest := int(read.tokens.max())) >= read.vocabulary:
            raise ValueError(f"Expected ids below {read.vocabulary} in {out / part}, but got {largest}. Make it again.")
        print(f"{out / part}: {len(read.tokens):,} tokens, as meta.json says")


def _documents(options: argparse.Namespace) -> tuple[Iterable[bytes], str]:
    if options.dataset:
        texts = hugging_face(options.dataset, options.config, options.split, options.column)
        return texts, f"{options.dataset} {options.config or ''} {options.split}"
    for path in options.text:
        if path.suffix not in (".txt", ".jsonl"):
            raise ValueError(f"Expected .txt or .jsonl files, but got {path}.")
    files = (document for path in options.text for document in corpus.text_documents([path]))
    documents = (part for document in files for part in _parts(document))
    return documents, " ".join(path.name for path in options.text)[:1000]


def _parts(document: bytes) -> Iterator[bytes]:
    """A long document in parts that end with a line, so that a single book can be split in two."""
    start = 0
    while len(document) - start > 2 * PART:
        end = document.find(b"\n", start + PART) + 1 or len(document)
        yield document[start:end]
        start = end
    if start < len(document):
        yield document[start:]


def _batches(documents: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for document in documents:
        batch.append(document)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Make token files for the language model of linear_attention.",
        epilog='A document is a .txt file, a line {"text": ...} of a .jsonl file, or a row of a data set. One in '
        f"{corpus.HELD_OUT} is held out, by the hash of its text.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", type=Path, nargs="+", metavar="FILE", help=".txt and .jsonl files")
    what.add_argument("--dataset", help="a data set on the Hugging Face Hub, say HuggingFaceFW/fineweb-edu")
    what.add_argument("--check", type=Path, metavar="FOLDER", help="compare token files with their meta.json")
    parser.add_argument("--config", help="configuration of the data set, say sample-10BT")
    parser.add_argument("--split", default="train", help="split of the data set (default: train)")
    parser.add_argument("--column", default="text", help="its column with the text (default: text)")
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="a tokenizer.json (default: bytes)")
    parser.add_argument("--separator", help="its token between documents (default: <|endoftext|> or the like)")
    parser.add_argument("--tokens", type=int, help="stop when there are so many to train on (default: all)")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "data", help="folder for train/ and hidden/ (default: data)"
    )
    return parser


if __name__ == "__main__":
    main()
