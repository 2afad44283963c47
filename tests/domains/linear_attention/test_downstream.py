"""Downstream tasks: what a model answers, what lm_eval makes of it, and that answers stay out of the requests."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from asi_evolve import domains

torch = pytest.importorskip("torch")
FOLDER = Path(domains.__file__).parent / "linear_attention"
sys.path[:0] = [str(FOLDER), str(Path(__file__).parent)]

from judging.accuracy import accuracies, judge  # noqa: E402
from small_model import SmallModel  # noqa: E402
from tasks import downstream  # noqa: E402
from tasks import downstream_requests as requests  # noqa: E402

HOW = {"length": 24, "device": torch.device("cpu"), "precision": "fp32"}
END = 0
TASK = """
task: capitals
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}} "
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
OTHER = """
task: cloze
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{question}}}}"
doc_to_target: " {{{{choices[0]}}}}"
metric_list: [{{metric: acc}}, {{metric: perplexity}}]
"""


def encode(text):
    return [1 + byte % 16 for byte in text.encode()]


def by_hand(model, context, continuation):
    """One token at a time, with its own forward pass each."""
    total, greedy = 0.0, True
    tokens = list(context)
    with torch.no_grad():
        for token in continuation:
            chances = model(torch.tensor([tokens[-24:]]))[0, -1].double().log_softmax(-1)
            total, greedy = total + chances[token].item(), greedy and chances.argmax().item() == token
            tokens.append(token)
    return total, greedy


def test_a_continuation_scores_what_its_tokens_do_one_by_one_however_they_are_batched():
    model = SmallModel(dropout=0.5)
    draw = np.random.default_rng(0)
    pairs = [(draw.integers(17, size=c).tolist(), draw.integers(17, size=n).tolist()) for c, n in
             ((1, 1), (5, 3), (2, 9), (12, 12), (7, 1))]  # fmt: skip
    model.eval()
    best = model(torch.tensor([[3, 4]]))[0, -1].argmax().item()
    pairs.append(([3, 4], [best]))
    expected = [by_hand(model, *pair) for pair in pairs]
    model.train()
    for rows in (1, 4, 100):
        sums, greedy = downstream.score(model, pairs, rows=rows, **HOW)
        assert sums == pytest.approx([total for total, _ in expected], abs=1e-5)
        assert greedy.tolist() == [same for _, same in expected]
    assert greedy[-1]
    assert model.training


def test_a_context_that_is_too_long_loses_its_beginning_and_a_continuation_may_not():
    model = SmallModel()
    long = list(range(1, 17)) * 3
    (cut,), _ = downstream.score(model, [(long, [5, 6])], rows=1, **HOW)
    (same,), _ = downstream.score(model, [(long[-23:], [5, 6])], rows=1, **HOW)
    (other,), _ = downstream.score(model, [(long[-22:], [5, 6])], rows=1, **HOW)
    assert cut == same != other
    for pair in (([1], long), ([], [1]), ([1], [])):
        with pytest.raises(ValueError, match="Expected a context and a continuation of 1 to 24 tokens"):
            downstream.score(model, [pair], rows=1, **HOW)


def test_generation_is_greedy_and_ends_before_a_stop():
    model = SmallModel().eval()

    def decode(tokens):
        return "".join(chr(ord("a") + token) for token in tokens)

    tokens = [3, 4]
    for _ in range(8):
        tokens.append(model(torch.tensor([tokens]))[0, -1].argmax().item())
    text = decode(tokens[2:])
    assert downstream.generate(model, [3, 4], decode, [], 8, **HOW) == text
    assert downstream.generate(model, [3, 4], decode, [text[1]], 8, **HOW) == text[: text.index(text[1])]


# ---- requests without answers ----


def test_what_is_written_is_read_again(tmp_path):
    pairs = [((1, 2, 3), (4,)), ((5,), (6, 7)), ((8, 9), (1, 2, 3))]
    requests.save(tmp_path / "inputs", tmp_path / "hidden", pairs, {"t": []})
    assert requests.read(tmp_path / "inputs") == pairs
    assert json.loads((tmp_path / "hidden" / "downstream.json").read_text()) == {"t": []}


def test_a_generator_hands_on_the_tasks_of_the_stage_alone(tmp_path):
    pairs = [((1,), (2,)), ((1,), (3,)), ((4,), (5, 6)), ((7,), (8,))]
    documents = {
        "one": [{"requests": [0, 2], "characters": [1, 2], "right": [True, False]}],
        "two": [{"requests": [2, 3], "characters": [2, 1], "right": [False, True]}],
    }
    requests.save(tmp_path / "inputs", tmp_path / "hidden", pairs, documents)
    requests.carry(tmp_path, ["two"])
    assert requests.read(tmp_path / "out" / "inputs") == pairs[2:]
    hidden = json.loads((tmp_path / "out" / "hidden" / "downstream.json").read_text())
    assert hidden == {"two": [{"requests": [0, 1], "characters": [2, 1], "right": [False, True]}]}
    with pytest.raises(ValueError, match=r"Expected requests of three, but got those of one, two. Make them with"):
        requests.carry(tmp_path, ["three"])
    with pytest.raises(ValueError, match=r"in data/inputs and data/hidden, but got none\. Make them"):
        requests.carry(tmp_path / "elsewhere", ["one"])


def test_a_model_answers_in_a_file_that_the_evaluator_judges(tmp_path):
    pairs = [((1,), (2,)), ((1, 5), (3, 4)), ((4,), (5, 6))]
    requests.save(tmp_path / "inputs", tmp_path / "hidden", pairs, HIDDEN)
    (tmp_path / "out").mkdir()
    model = SmallModel()
    downstream.answer(tmp_path, model, 17, rows=2, **HOW)
    (tmp_path / "out").rename(tmp_path / "outputs")
    expected, _ = downstream.score(model, pairs, rows=2, **HOW)
    assert judge(tmp_path) == accuracies(expected, HIDDEN)
    with pytest.raises(ValueError, match=r"Expected requests with token ids below 6, .* but got 6"):
        downstream.answer(tmp_path, model, 6, rows=2, **HOW)
    np.savez(tmp_path / "outputs" / "downstream.npz", log_probabilities=np.array([{}, {}, {}]))
    with pytest.raises(ValueError, match=r"Expected downstream.npz with an array log_probabilities, but"):
        judge(tmp_path)
    (tmp_path / "outputs" / "downstream.npz").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"Expected downstream\.npz"):
        judge(tmp_path)


HIDDEN = {
    "one": [
        {"requests": [0, 1], "characters": [1, 4], "right": [True, False]},
        {"requests": [2, 0], "characters": [2, 2], "right": [False, True]},
    ]
}


def test_accuracies_count_the_likeliest_and_the_likeliest_per_character():
    found = accuracies(np.array([-2.0, -4.0, -1.0], dtype=np.float32), HIDDEN)
    assert found == {"one": {"acc": 0.5, "acc_norm": 0.0, "documents": 2.0}}
    assert accuracies(np.array([-2.0, -9.0, -3.0]), HIDDEN)["one"]["acc"] == 1.0


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (np.zeros(2), "Expected \\(3,\\)"),
        (np.zeros((3, 1)), "Expected \\(3,\\)"),
        (np.zeros(3, dtype=np.int64), "log-probabilities"),
        (np.array([0.0, math.nan, 0.0]), "finite"),
        (np.array([0.0, -math.inf, 0.0]), "finite"),
    ],
)
def test_answers_of_another_form_are_no_accuracy(answers, words):
    with pytest.raises(ValueError, match=words):
        accuracies(answers, HIDDEN)


def test_nothing_of_it_needs_lm_eval_until_a_task_is_asked_for():
    program = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); sys.modules['lm_eval'] = None; " + (
        "from judging import accuracy; from tasks import downstream_requests; "
        "assert 'torch' not in sys.modules; from tasks import downstream"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# ---- with lm_eval ----


@pytest.fixture
def capitals(tmp_path):
    """Twelve documents with three choices of different lengths, on disk as a user has them."""
    pytest.importorskip("lm_eval")
    draw = np.random.default_rng(3)
    words = ["Rome", "a town", "the old capital", "Oslo", "Bern on the Aare", "Ur"]
    with (tmp_path / "capitals.jsonl").open("w") as stream:
        for number in range(12):
            choices = draw.choice(words, 3, replace=False).tolist()
            record = {"question": f"Capital {number % 4}?", "choices": choices, "answer": int(draw.integers(3))}
            stream.write(json.dumps(record) + "\n")
    for name, text in (("capitals", TASK), ("cloze", OTHER)):
        (tmp_path / f"{name}.yaml").write_text(text.format(data=tmp_path / "capitals.jsonl"))
    return tmp_path


@pytest.mark.slow
def test_accuracies_from_requests_without_answers_are_those_of_lm_eval(capitals, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(capitals / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = SmallModel(256, seed=5)
    language_model = downstream.adapter(
        model, lambda text: list(text.encode()), lambda tokens: "", END, length=64, rows=5
    )
    expected = downstream.evaluate(language_model, ["capitals"], limit=10, include=capitals)["capitals"]

    requests.main(["--tasks", "capitals", "--limit", "10", "--include", str(capitals), "--out", str(capitals)])
    pairs = requests.read(capitals / "inputs")
    assert pairs == sorted(set(pairs))
    (capitals / "outputs").mkdir()
    (capitals / "out").symlink_to("outputs")
    downstream.answer(capitals, model, 256, length=64, rows=7, device=torch.device("cpu"), precision="fp32")
    found = judge(capitals)["capitals"]
    assert (found["acc"], found["acc_norm"]) == (expected["acc"], expected["acc_norm"])
    assert found["documents"] == 10
    assert 0.0 < expected["acc"] < 1.0
    assert expected["acc"] != expected["acc_norm"]

    cloze = downstream.evaluate(language_model, ["cloze"], limit=5, include=capitals)["cloze"]
    assert cloze["perplexity"] > 1.0
    with pytest.raises(ValueError, match="cloze is one of loglikelihood"):
        requests.loaded(["cloze"], 5, capitals)


def test_the_model_behind_lm_evals_interface_rolls_over_a_text_and_generates():
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance

    model = SmallModel(seed=5).eval()
    behind = downstream.adapter(model, encode, lambda tokens: "".join(map(chr, tokens)), END, length=24, rows=3)
    text = "a text that is longer than the window of 24 tokens, so it is cut"
    (total,) = behind.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0)])
    tokens = encode(text)
    first = by_hand(model, [END], tokens[:24])[0]
    assert total < first < 0
    short = "no cut here"
    (whole,) = behind.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (short,), 0)])
    assert whole == pytest.approx(by_hand(model, [END], encode(short))[0], abs=1e-5)
    wishes = {"until": [], "max_gen_toks": 4}
    (answer,) = behind.generate_until([Instance("generate_until", {}, ("hello", wishes), 0)])
    assert len(answer) == 4
    with pytest.raises(ValueError, match="greedy"):
        behind.generate_until([Instance("generate_until", {}, ("hello", {"do_sample": True}), 0)])
