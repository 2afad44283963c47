"""prepare.py: text becomes token files, each document on one side, complete or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from asi_evolve import domains

FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path.insert(0, str(FOLDER))

import prepare  # noqa: E402
from tasks import corpus, token_file  # noqa: E402

DOCUMENTS = [b"document number %d, " % number * (1 + number % 7) for number in range(400)]


def jsonl(path: Path, documents: list[bytes] = DOCUMENTS) -> Path:
    path.write_text("".join(json.dumps({"text": document.decode()}) + "\n" for document in documents))
    return path


def tokens(folder: Path) -> bytes:
    return token_file.read(folder).tokens.astype(np.uint8).tobytes()


def test_every_document_is_on_one_side_by_its_hash(tmp_path):
    prepare.main(["--text", str(jsonl(tmp_path / "a.jsonl")), "--out", str(tmp_path / "data")])
    train, hidden = (tokens(tmp_path / "data" / part).split(b"\0") for part in ("train", "hidden"))
    assert sorted(train + hidden) == sorted(DOCUMENTS)
    assert all(corpus.is_held_out(document) for document in hidden)
    assert not any(corpus.is_held_out(document) for document in train)
    meta = json.loads((tmp_path / "data" / "train" / "meta.json").read_text())
    assert (meta["documents"], meta["bytes"], meta["dtype"]) == (len(train), sum(map(len, train)), "uint16")
    assert meta["tokens"] == meta["bytes"] + len(train) - 1


def test_the_order_of_the_documents_moves_none_to_the_other_side(tmp_path):
    for name, documents in (("a", DOCUMENTS), ("b", DOCUMENTS[::-1] + DOCUMENTS[:50])):
        prepare.main(["--text", str(jsonl(tmp_path / f"{name}.jsonl", documents)), "--out", str(tmp_path / name)])
    assert set(tokens(tmp_path / "a" / "hidden").split(b"\0")) == set(tokens(tmp_path / "b" / "hidden").split(b"\0"))


def test_one_long_text_is_split_at_line_ends(tmp_path):
    book = b"".join(b"line %d of the book\n" % number for number in range(60_000))
    (tmp_path / "book.txt").write_bytes(book)
    prepare.main(["--text", str(tmp_path / "book.txt"), "--out", str(tmp_path / "data")])
    parts = [part for side in ("train", "hidden") for part in tokens(tmp_path / "data" / side).split(b"\0")]
    assert sum(map(len, parts)) == len(book)
    assert all(part.endswith(b"book\n") and part in book for part in parts)


def test_a_tokenizer_file_gives_the_ids_and_the_separator(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    words = {word: place for place, word in enumerate(["<eos>", "?", "document", "number", ","])}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="?"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.save(str(tmp_path / "words.json"))
    arguments = ["--text", str(jsonl(tmp_path / "a.jsonl")), "--tokenizer", str(tmp_path / "words.json")]
    prepare.main([*arguments, "--out", str(tmp_path / "data")])
    hidden = token_file.read(tmp_path / "data" / "hidden")
    kept = [document for document in DOCUMENTS if corpus.is_held_out(document)]
    expected = [[2, 3, 1, 4] * document.count(b",") for document in kept]
    assert hidden.tokens.tolist() == [one for ids in expected for one in [0, *ids]][1:]
    assert (hidden.vocabulary, hidden.tokenizer) == (5, "words.json")
    assert hidden.bytes_per_token == pytest.approx(sum(map(len, kept)) / len(hidden.tokens))
    with pytest.raises(SystemExit, match="Name one with --separator"):
        prepare.main([*arguments, "--separator", "<nothing>", "--out", str(tmp_path / "data")])


def test_nothing_is_left_and_nothing_replaced_where_it_fails(tmp_path):
    out = tmp_path / "data"
    prepare.main(["--text", str(jsonl(tmp_path / "a.jsonl")), "--out", str(out)])
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (tmp_path / "b.jsonl").write_text('{"text": "fine"}\n{"text": 3}\n')
    with pytest.raises(SystemExit, match=r"b\.jsonl:2"):
        prepare.main(["--text", str(tmp_path / "b.jsonl"), "--out", str(out)])
    with pytest.raises(SystemExit, match="Expected documents for both parts"):
        prepare.main(["--text", str(jsonl(tmp_path / "c.jsonl", DOCUMENTS[:1])), "--out", str(out)])
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_bound_on_tokens_ends_the_reading(tmp_path):
    documents = DOCUMENTS * 10
    prepare.main(["--text", str(jsonl(tmp_path / "a.jsonl", documents)), "--tokens", "20000", "--out", str(tmp_path)])
    assert 20_000 <= len(tokens(tmp_path / "train")) < 60_000


def test_check_finds_a_changed_file(tmp_path, capsys):
    prepare.main(["--text", str(jsonl(tmp_path / "a.jsonl")), "--out", str(tmp_path)])
    prepare.main(["--check", str(tmp_path)])
    assert "as meta.json says" in capsys.readouterr().out
    raw = bytearray((tmp_path / "hidden" / "tokens.bin").read_bytes())
    raw[10] ^= 1
    (tmp_path / "hidden" / "tokens.bin").write_bytes(raw)
    with pytest.raises(SystemExit, match="sha256"):
        prepare.main(["--check", str(tmp_path)])


def test_without_the_package_a_data_set_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SystemExit, match="pip install datasets"):
        prepare.main(["--dataset", "some/set", "--out", str(tmp_path)])


def test_the_command_line_explains_itself(tmp_path):
    command = [sys.executable, str(FOLDER / "prepare.py")]
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(option in told for option in ("--text", "--dataset", "--tokenizer", "--check", "--out"))
    wrong = subprocess.run([*command, "--text", "a.pdf", "--out", str(tmp_path)], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr == "prepare.py: Expected .txt or .jsonl files, but got a.pdf.\n"
