"""Prompts, answers that a program verifies, and the demonstrations that the warm start was learnt from."""

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from .bed_lab import demonstrations, tasks  # noqa: E402

EXAMPLES = [
    tasks.Question("add", "95+8=", "103"),
    tasks.Question("mod", "83%9=", "2"),
    tasks.Question("sort", "s51427=", "12457"),
]


def tokens_of(text):
    padded = (tasks.encode(text) + [tasks.END] * tasks.ANSWER_LIMIT)[: tasks.ANSWER_LIMIT]
    return np.array(padded)


@pytest.mark.parametrize("question", EXAMPLES)
def test_the_right_answer_with_its_end_is_right(question):
    assert tasks.verify(question, tokens_of(question.answer + "."))


@pytest.mark.parametrize("question", EXAMPLES)
@pytest.mark.parametrize("wrong", ["", ".", "{0}0.", " {0}.", "0{0}.", "{0}=.", "{0}{0}{0}{0}{0}{0}{0}{0}"])
def test_anything_else_is_wrong(question, wrong):
    assert not tasks.verify(question, tokens_of(wrong.format(question.answer)))


def test_an_answer_that_fills_the_limit_without_an_end_is_wrong():
    question = tasks.Question("sort", "s1=", "1" * tasks.ANSWER_LIMIT)
    assert not tasks.verify(question, tokens_of(question.answer))


def test_drawn_questions_have_the_answers_that_arithmetic_gives():
    for question in tasks.draw(600, np.random.default_rng(0)):
        body = question.prompt.strip("s=")
        if question.task == "sort":
            expected = "".join(sorted(body))
        elif question.task == "add":
            expected = str(sum(map(int, body.split("+"))))
        else:
            a, m = map(int, body.split("%"))
            expected = str(a - a // m * m)
        assert question.answer == expected


def test_all_tasks_come_equally_often():
    counts = Counter(question.task for question in tasks.draw(99, np.random.default_rng(0)))
    assert counts == {"add": 33, "mod": 33, "sort": 33}


def test_no_prompt_is_both_trained_on_and_held_out():
    rng = np.random.default_rng(0)
    trained = {question.prompt for question in tasks.draw(3000, rng)}
    held_out = {question.prompt for question in tasks.draw(3000, rng, held_out=True)}
    assert not trained & held_out


@pytest.mark.parametrize("task", tasks.TASKS)
def test_about_a_fifth_of_each_task_is_held_out(task):
    rng = np.random.default_rng(0)
    share = np.mean([tasks.is_held_out(tasks.DRAW[task](rng)) for _ in range(3000)])
    assert 0.16 < share < 0.24


def test_every_prompt_has_one_width_and_can_be_read_back():
    questions = tasks.draw(300, np.random.default_rng(0))
    encoded = tasks.encode_prompts(questions)
    assert encoded.shape == (300, tasks.PROMPT_WIDTH)
    texts = ["".join(tasks.ALPHABET[token] for token in row) for row in encoded]
    assert [text.strip() for text in texts] == [question.prompt for question in questions]


@pytest.mark.parametrize(("prompt", "habit"), [("95+8=", "93"), ("83%9=", "3"), ("s51427=", "72415")])
def test_shortcuts_are_the_wrong_habits_they_are_called(prompt, habit):
    question = next(one for one in EXAMPLES if one.prompt == prompt)
    assert demonstrations.shortcut(question) == habit


def test_demonstrations_are_right_in_three_of_ten_and_take_the_shortcut_in_four():
    rng = np.random.default_rng(0)
    question = EXAMPLES[2]  # its shortcut is never right
    answers = [demonstrations.demonstration(question, rng) for _ in range(4000)]
    assert abs(np.mean([answer == question.answer for answer in answers]) - 0.3) < 0.03
    assert abs(np.mean([answer == demonstrations.shortcut(question) for answer in answers]) - 0.4) < 0.03


def test_demonstrations_end_and_show_no_prompt_that_is_held_out():
    prompts, answers, mask = demonstrations.demonstrations(200, np.random.default_rng(0))
    texts = ["".join(tasks.ALPHABET[token] for token in row).strip() for row in prompts]
    assert not any(tasks.is_held_out(tasks.Question("add", text, "")) for text in texts)
    last = mask.sum(axis=1).astype(int) - 1
    assert (answers[np.arange(200), last] == tasks.END).all()
    assert all((row[:end] != tasks.END).all() for row, end in zip(answers, last, strict=True))
