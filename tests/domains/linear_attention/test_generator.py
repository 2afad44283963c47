"""The generator: what lies where, what depends on which seed, and text of the user."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from asi_evolve import domains

FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path[:0] = [str(FOLDER), str(Path(__file__).parent)]

from job_folder import Job  # noqa: E402
from lookup_attack import split  # noqa: E402
from tasks import corpus, token_file  # noqa: E402


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*"))}


def test_inputs_hold_tokens_and_places_and_nothing_else(tmp_path):
    job = Job(tmp_path)
    job.generate()
    for task in ("recall", "lm"):
        asked, hidden = job.arrays("inputs", task), job.arrays("hidden", task)
        assert sorted(asked) == ["positions", "tokens"]
        assert asked["tokens"].dtype == asked["positions"].dtype == np.int64
        assert asked["positions"].shape == hidden["labels"].shape == hidden["weights"].shape
        assert asked["positions"].max() < asked["tokens"].shape[1]
        assert len(hidden["pairs"]) >= 8
    assert sorted(files(tmp_path / "out" / "inputs")) == ["lm.npz", "recall.npz"]


def test_the_hidden_seed_decides_what_is_asked_and_the_open_one_what_is_learnt(tmp_path):
    jobs = [
        Job(tmp_path / name, hidden_seed=hidden, seed=seed)
        for name, hidden, seed in [("a", 5, 0), ("b", 5, 0), ("c", 6, 0), ("d", 5, 1)]
    ]
    for job in jobs:
        job.generate()
    same, again, other_hidden, other_seed = (
        [files(job.path / part) for part in ("out/inputs", "hidden", "out/train")] for job in jobs
    )
    assert same == again
    assert same[0]["recall.npz"] != other_hidden[0]["recall.npz"] and same[0]["lm.npz"] != other_hidden[0]["lm.npz"]
    assert same[2] == other_hidden[2]
    assert same[:2] == other_seed[:2]
    assert same[2]["tokens.bin"] != other_seed[2]["tokens.bin"]


def test_text_to_learn_from_and_text_that_is_asked_are_of_different_files(tmp_path):
    job = Job(tmp_path, tasks="lm")
    job.generate()
    learnt = token_file.read(tmp_path / "out" / "train")
    assert (learnt.vocabulary, learnt.bytes_per_token, learnt.tokenizer) == (256, 1.0, corpus.DRAWN_BYTES)
    train, _ = corpus.standard_library(60_000, 30_000)
    pieces = [split(document)[0] for document in train]
    said = [split(document)[0] for document in learnt.tokens.astype(np.uint8).tobytes().split(b"\0")]
    assert said == pieces
    assert 0.8 < len(learnt.tokens) / sum(map(len, train)) < 1.3


def test_nothing_is_made_where_nothing_is_trained(tmp_path):
    job = Job(tmp_path, tasks="")
    job.generate()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by /proc")
def test_it_takes_little_memory_and_room_at_full_size(tmp_path):
    full = {"audit_rows": 128, "lm_audit_rows": 256, "lm_train_bytes": 2_000_000, "lm_held_out_bytes": 200_000}
    job = Job(tmp_path, tasks="recall overwrite lm", **(full | {"lm_length": 256}))
    (tmp_path / "params.json").write_text(json.dumps(job.params))
    # The largest memory of the process itself: that of getrusage has its parent's in it.
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[0], run_name='__main__'); print(open('/proc/self/status').read())"
    )
    code = f"import sys; sys.argv[0] = {str(FOLDER / 'generator.py')!r}; {code}"
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert int(told.split("VmHWM:")[1].split()[0]) < 300_000  # kB
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert written < 10_000_000


def user_text(folder: Path, train: str | None, hidden: str | None) -> None:
    for part, text in (("train", train), ("hidden", hidden)):
        if text is not None:
            (folder / part).mkdir(parents=True)
            (folder / part / "mine.jsonl").write_text(
                "".join(json.dumps({"text": line}) + "\n" for line in text.split("|"))
            )


def run(job: Job) -> str:
    """What the generator says where it fails, else nothing."""
    done = job.run("generator.py")
    return done.stderr if done.returncode else ""


def test_text_of_the_user_takes_the_place_of_the_corpus(tmp_path):
    user_text(tmp_path, "to learn " * 200 + "|more to learn", "secret " * 300)
    job = Job(tmp_path, tasks="lm")
    assert run(job) == ""
    learnt = token_file.read(tmp_path / "out" / "train").tokens.astype(np.uint8).tobytes()
    assert learnt == b"to learn " * 200 + b"\0more to learn"
    with np.load(tmp_path / "out" / "inputs" / "lm.npz") as asked:
        assert set(asked["tokens"].ravel()) == set(b"secret ")


def test_a_token_file_of_the_user_is_asked_and_not_copied(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("train", "hidden"):
        writer = token_file.Writer(tmp_path / part, 70_000)
        writer.add(rng.integers(0, 70_000, 5000))
        writer.finish(text_bytes=21_000, documents=3, tokenizer="mine")
    job = Job(tmp_path, tasks="lm")
    assert run(job) == ""
    assert not (tmp_path / "out" / "train").exists()
    with np.load(tmp_path / "out" / "hidden" / "lm.npz") as hidden:
        assert (int(hidden["vocabulary"]), float(hidden["bytes_per_token"])) == (70_000, 4.2)
        assert hidden["labels"].max() > 256


def test_token_files_of_two_tokenizers_are_refused(tmp_path):
    for part, tokenizer in (("train", "mine"), ("hidden", "other")):
        writer = token_file.Writer(tmp_path / part, 300)
        writer.add(np.arange(300))
        writer.finish(text_bytes=300, documents=1, tokenizer=tokenizer)
    assert "token files of one tokenizer" in run(Job(tmp_path, tasks="lm"))


@pytest.mark.parametrize(("train", "hidden"), [("only this " * 99, None), (None, "only this " * 99)])
def test_text_without_held_out_text_is_refused_and_so_is_the_reverse(tmp_path, train, hidden):
    user_text(tmp_path, train, hidden)
    assert "only one has some" in run(Job(tmp_path, tasks="lm"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": 7}, "bytes, but got"),
        ({"vocabulary": 1}, "vocabulary that the dtype can hold"),
        ({"vocabulary": 70_000}, "vocabulary that the dtype can hold"),
        ({"dtype": "float32"}, "a dtype of"),
        ({"file": "../hidden/tokens.bin"}, "a plain file name"),
        ({"format": 2}, "Expected format 1"),
        ({"bytes": "many"}, "'bytes' of type int"),
    ],
)
def test_a_token_file_that_is_not_as_it_says_is_refused(tmp_path, change, message):
    writer = token_file.Writer(tmp_path, 300)
    writer.add(np.arange(300))
    meta = writer.finish(text_bytes=300, documents=1, tokenizer="bytes")
    assert len(token_file.read(tmp_path).tokens) == 300
    (tmp_path / "meta.json").write_text(json.dumps(meta | change))
    with pytest.raises(token_file.NotATokenFile, match=message):
        token_file.read(tmp_path)


def test_ids_outside_the_vocabulary_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="ids from 0 to 9, but got 3 to 10"):
        token_file.Writer(tmp_path, 10).add(np.array([3, 10]))
