"""Problems in the forms in which GSM8K and MATH are published, and one's own."""

import importlib.util
import json

import pytest

from . import real_lab
from .boundary_lab import imported

(problems,) = imported("real.problems")
Problem = problems.Problem

GSM8K = {"question": "How many?", "answer": "2+1,200 = <<2+1200=1202>>1,202.\n#### 1,202"}
MATH = {"problem": "What is it?", "level": "Level 1", "type": "Algebra", "solution": r"So $\boxed{\frac{1}{2}}$."}
OWN = {"prompt": "1+1=", "answer": 2, "task": "sums"}


def read(path, instruction=""):
    return list(problems.published(path, instruction))


def test_gsm8k_and_math_and_own_rows_are_read_by_their_keys(tmp_path):
    file = real_lab.write_rows(tmp_path / "train.jsonl", [GSM8K, MATH, OWN])
    assert read(file, " Think.") == [
        ("train", Problem("How many? Think.", "1202", "gsm8k")),
        ("train", Problem("What is it? Think.", r"\frac{1}{2}", "algebra")),
        ("train", Problem("1+1=", "2", "sums")),
    ]


def test_math_as_it_comes_is_a_folder_of_files_of_which_names_tell_the_part(tmp_path):
    for part, number in (("train", 1), ("test", 2)):
        place = tmp_path / "MATH" / part / "algebra" / f"{number}.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps({**MATH, "problem": part}))
    assert [(split, problem.prompt) for split, problem in read(tmp_path / "MATH")] == [
        ("test", "test"),
        ("train", "train"),
    ]


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed (extra rl)")
def test_gsm8k_from_the_hub_is_parquet(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([GSM8K]), tmp_path / "test-00000-of-00001.parquet")
    assert read(tmp_path) == [("test", Problem("How many?", "1202", "gsm8k"))]


def test_without_a_word_of_train_or_test_one_in_ten_is_held_out_the_same_each_time(tmp_path):
    file = real_lab.write_rows(tmp_path / "mine.jsonl", [{"prompt": f"{n}+1=", "answer": n + 1} for n in range(2000)])
    found = read(file)
    assert 150 < sum(split == "test" for split, _ in found) < 260
    assert found == read(file)


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"$\boxed{3}$", "3"),
        (r"first $\boxed{1}$, then $\boxed{\frac{a}{b+{c}}}$.", r"\frac{a}{b+{c}}"),
        (r"\fbox{4}", "4"),
        (r"thus $\boxed 7$", "7"),
        (r"\boxed{never closed", None),
        ("nothing", None),
    ],
)
def test_the_last_box_is_the_answer(solution, answer):
    assert problems.last_boxed(solution) == answer


@pytest.mark.parametrize("row", [{"text": "?"}, {"question": "?", "answer": "no mark"}, {"problem": "?"}])
def test_a_row_of_no_known_form_is_named(tmp_path, row):
    with pytest.raises(ValueError, match="Expected a row of GSM8K"):
        read(real_lab.write_rows(tmp_path / "train.jsonl", [OWN, row]))


def test_names_of_folders_and_tasks_far_off_do_not_matter(tmp_path):
    row = {**MATH, "type": "Counting & Probability"}
    file = real_lab.write_rows(tmp_path / "latest_tests" / "mine.jsonl", [row] * 3)
    assert {problem.task for _, problem in read(file)} == {"counting_probability"}
    assert problems.split_of(file, file) is None
    assert problems.split_of(tmp_path / "gsm8k_test.jsonl", tmp_path) == "test"
    assert problems.split_of(tmp_path / "train-00000-of-00001.parquet", tmp_path) == "train"


def test_what_is_written_is_read_again_and_what_is_broken_is_named_by_its_line(tmp_path):
    found = [Problem("1+1=", "2", "sums"), Problem("ü\n", r"\pi", "x")]
    problems.write(tmp_path / "a.jsonl", found)
    assert problems.read(tmp_path / "a.jsonl") == found
    real_lab.write_rows(tmp_path / "b.jsonl", [OWN | {"answer": "2"}, {"prompt": "?"}])
    with pytest.raises(ValueError, match="line 2"):
        problems.read(tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl").write_text("")
    with pytest.raises(ValueError, match="empty"):
        problems.read(tmp_path / "c.jsonl")


def test_rows_without_a_task_have_that_of_their_file_and_single_files_that_of_their_folder(tmp_path):
    (tmp_path / "sums").mkdir()
    for number in range(50):
        (tmp_path / "sums" / f"{number}.json").write_text(json.dumps({"prompt": f"{number}+1=", "answer": number + 1}))
    assert {problem.task for _, problem in read(tmp_path / "sums")} == {"sums"}
    file = real_lab.write_rows(tmp_path / "more.jsonl", [{"prompt": "1+1=", "answer": 2}])
    assert {problem.task for _, problem in read(file)} == {"more"}


@pytest.mark.parametrize(
    ("tasks", "words"),
    [([f"t{number}" for number in range(41)], "at most 40 tasks in held_out.jsonl, but got 41"), (["Sums!"], "Sums!")],
)
def test_tasks_that_the_evaluator_does_not_take_are_refused_before_training(tmp_path, tasks, words):
    file = tmp_path / "held_out.jsonl"
    problems.write(file, [Problem("1+1=", "2", task) for task in tasks])
    with pytest.raises(ValueError, match=words):
        problems.read(file)


def test_a_text_may_hold_what_others_take_for_the_end_of_a_line(tmp_path):
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps({**OWN, "prompt": "1\u2028+\x85 1="}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [problem.prompt for _, problem in read(file)] == ["1\u2028+\x85 1="]
