"""What a candidate's two functions get and may return, in the trainer's process and in one of their own."""

import json
from pathlib import Path

import numpy as np
import pytest
from asi_evolve.sandbox.channel import CandidateFailed

from .boundary_lab import FOLDER, Process, batch_of, imported, rows_of

torch = pytest.importorskip("torch")
remote, in_process, algorithm = imported("boundary.remote", "boundary.in_process", "training.algorithm")

PROGRAMS = [FOLDER / "baseline" / "algorithm.py", *sorted((Path(__file__).parent / "references").glob("*.py"))]
ZEROS = "import torch\ndef compute_advantages(batch):\n    return torch.zeros_like(batch.rewards)\n"
NO_LOSS = "\ndef policy_loss(logp, old_logp, ref_logp, advantages, mask, info):\n    return 0.0\n"
MEAN = "import torch\ndef policy_loss(logp, old_logp, ref_logp, advantages, mask, info):\n    return logp.mean()\n"
DICE = """
import random
import numpy
import torch
calls = []
def compute_advantages(batch):
    calls.append(batch.step)
    return torch.rand(len(batch.rewards)) + random.random() + numpy.random.rand() + len(calls)
def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    kept = torch.bernoulli(torch.full_like(logp, 0.7))
    return -(logp * kept * advantages[:, None]).mean(), {"kept": kept.mean(), "calls": len(calls)}
"""
"""It draws from every generator, and remembers."""


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """One process for all tests: `begin` imports what lies there then."""
    started = Process(tmp_path_factory.mktemp("job"), ZEROS + NO_LOSS)
    with started.connected():
        started.algorithm = remote.RemoteAlgorithm()
    yield started
    started.end()


@pytest.fixture
def here(tmp_path):
    """A program in this process."""

    def load(program):
        (tmp_path / "program.py").write_text(program)
        return in_process.InProcessAlgorithm(tmp_path / "program.py")

    return load


def loss(body):
    """A program whose loss is this body."""
    return f"{ZEROS}\ndef policy_loss(logp, old_logp, ref_logp, advantages, mask, info):\n    {body}\n"


def ask(of, batch, advantages=None, shift=0.1):
    """The loss of the whole batch as one minibatch, under a policy that has moved by `shift`."""
    mask, old = batch["mask"], batch["old_logp"]
    if advantages is None:
        advantages = np.zeros(len(mask), np.float32)
    return of.loss(old - np.float32(shift) * mask, old, old, advantages, mask, batch)


def train(of, seed=3, steps=3):
    """Bytes of all that comes of some steps, each with two minibatches of whole groups."""
    of.begin(seed)
    came = []
    rng = np.random.default_rng(0)
    for step in range(steps):
        batch = batch_of(rng, step=step)
        advantages = of.advantages(batch)
        came.append(advantages.tobytes())
        for rows in (slice(0, 12), slice(12, 24)):
            part = rows_of(batch, rows)
            noise = rng.normal(0, 0.3, part["mask"].shape).astype(np.float32) * part["mask"]
            old = part["old_logp"]
            answer = of.loss(np.minimum(old + noise, 0), old, old - noise, advantages[rows], part["mask"], part)
            came.append((answer.loss, answer.gradient.tobytes(), answer.metrics))
    return came


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_both_processes_give_the_same_numbers_bit_for_bit(process, here, path):
    process.write(path.read_text())
    assert train(process.algorithm) == train(here(path.read_text()))


def test_random_numbers_repeat_with_the_seed_of_the_run_and_a_run_remembers_no_other(process, here):
    process.write(DICE)
    first = train(process.algorithm, seed=5)
    other = train(process.algorithm, seed=6)
    assert other != first
    assert train(process.algorithm, seed=5) == first == train(here(DICE), seed=5)
    assert [metrics["calls"] for _, _, metrics in first[1::3]] == [1, 2, 3]


def test_a_program_in_this_process_leaves_the_trainers_random_numbers_alone(here):
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    train(here(DICE))
    assert torch.equal(torch.rand(3), wanted)


def test_what_a_candidate_sees_is_detached_plain_and_as_documented(process, here):
    look = f"""{ZEROS}
import json
def told(tensor):
    return [str(tensor.dtype), list(tensor.shape), tensor.requires_grad, tensor.is_leaf, tensor.grad_fn is None]
def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    seen = {{name: told(value) if isinstance(value, torch.Tensor) else value for name, value in info._asdict().items()}}
    for name, value in dict(logp=logp, ref_logp=ref_logp, advantages=advantages).items():
        seen[name] = told(value)
    seen["same"] = [info.mask is mask, info.old_logp is old_logp]
    raise ValueError(json.dumps(seen))
"""
    plain = [False, True, True]
    wanted = {
        "rewards": ["torch.float32", [24], *plain],
        "group_ids": ["torch.int64", [24], *plain],
        "group_size": 4,
        "lengths": ["torch.int64", [24], *plain],
        "mask": ["torch.float32", [24, 7], *plain],
        "old_logp": ["torch.float32", [24, 7], *plain],
        "entropy": ["torch.float32", [24, 7], *plain],
        "step": 9,
        "total_steps": 70,
        "logp": ["torch.float32", [24, 7], True, True, True],
        "ref_logp": ["torch.float32", [24, 7], *plain],
        "advantages": ["torch.float32", [24], *plain],
        "same": [True, True],
    }
    process.write(look)
    process.algorithm.begin(0)
    batch = batch_of(np.random.default_rng(0), step=9)
    for of, kind in ((process.algorithm, CandidateFailed), (here(look), ValueError)):
        with pytest.raises(kind) as error:
            ask(of, batch)
        assert json.loads(str(error.value)[str(error.value).index("{") :]) == wanted


def test_the_gradient_is_that_of_the_loss_and_nothing_outside_the_mask(here):
    batch = batch_of(np.random.default_rng(1))
    advantages = np.random.default_rng(2).normal(size=24).astype(np.float32)
    answer = ask(here(loss("return (3 * logp * advantages[:, None]).sum()")), batch, advantages)
    assert np.array_equal(answer.gradient, 3 * advantages[:, None] * batch["mask"])
    assert answer.gradient.dtype == np.float32
    logp = batch["old_logp"] - np.float32(0.1) * batch["mask"]
    assert answer.loss == pytest.approx(float((3 * logp * advantages[:, None]).sum()), rel=1e-4)


@pytest.mark.parametrize(
    "body",
    [
        "return 0.0",
        "return 7",
        "return torch.tensor(1.5)",
        "return logp.detach().mean()",
        "return torch.ones((), requires_grad=True) * 2",
        "logp.requires_grad_(False); return logp.mean() + torch.ones((), requires_grad=True)",
        "with torch.no_grad(): return logp.mean()",
        "return old_logp.mean()",
    ],
)
def test_a_loss_that_does_not_depend_on_logp_has_a_gradient_of_zero(here, body):
    answer = ask(here(loss(body)), batch_of(np.random.default_rng(1)))
    assert not answer.gradient.any()
    assert np.isfinite(answer.loss)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return logp", r"scalar loss, but got a tensor of shape \(24, 7\)"),
        ("return logp.mean()[None]", r"scalar loss, but got a tensor of shape \(1,\)"),
        ("return None", r"scalar tensor or \(scalar tensor, metrics\), but got NoneType"),
        ("return logp.mean(), {}, 1", "but got tuple"),
        ("return True", "but got bool"),
        ("return 'text'", "but got str"),
        ("return logp.mean(), 'text'", "metrics of policy_loss as a dictionary, but got str"),
        ("return logp.mean() * float('nan')", "Expected the loss of policy_loss to be finite, but it is nan"),
        ("return logp.mean() / 0", "to be finite, but it is -inf"),
        ("return logp[0, 0].mul(0).sqrt() + 0 * logp.sum()", "gradient of policy_loss by logp to be finite"),
        ("return torch.where(mask > 0, logp, logp / mask * 0).nan_to_num().sum()", "also outside the mask"),
        ("raise ValueError('no way')", "no way"),
        ("return no_such_name", "no_such_name"),
    ],
)  # fmt: skip
def test_a_loss_of_another_form_is_refused_in_clear_words(process, here, body, words):
    batch = batch_of(np.random.default_rng(1))
    batch["lengths"][0], batch["mask"][0] = 6, [1, 1, 1, 1, 1, 1, 0]
    with pytest.raises((algorithm.Refused, TypeError, ValueError, NameError), match=words):
        ask(here(loss(body)), batch)
    process.write(loss(body))
    process.algorithm.begin(0)
    with pytest.raises(CandidateFailed, match=words):
        ask(process.algorithm, batch)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("batch.rewards[:3]", r"\(B,\) or \(B, T\), here \(24,\) or \(24, 7\), but got \(3,\)"),
        ("batch.rewards[:, None]", r"but got \(24, 1\)"),
        ("batch.mask.T", r"but got \(7, 24\)"),
        ("batch.rewards.mean()", r"but got \(\)"),
        ("batch.rewards / 0", "advantages of compute_advantages to be finite"),
        ("batch.mask / batch.mask", "also outside the mask"),
        ("batch.rewards > 0", "real numbers, but got torch.bool"),
        ("batch.rewards + 1j", "real numbers, but got torch.complex64"),
        ("batch.rewards.tolist()", "a tensor of shape (B,) or (B, T), but got list"),
        ("batch.rewards.numpy()", "but got ndarray"),
        ("batch.prompts", "no attribute 'prompts'"),
        ("batch._replace(rewards=1).rewards", "but got int"),
        ("setattr(batch, 'rewards', 1)", "can't set attribute"),
    ],
)
def test_advantages_of_another_form_are_refused_in_clear_words(process, value, words):
    process.write(f"{MEAN}\ndef compute_advantages(batch):\n    return {value}\n")
    process.algorithm.begin(0)
    with pytest.raises(CandidateFailed) as error:
        process.algorithm.advantages(batch_of(np.random.default_rng(1)))
    assert words.replace("\\", "") in str(error.value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("batch.rewards", lambda batch: batch["rewards"]),
        ("batch.rewards.double() / 3", lambda batch: (batch["rewards"].astype(float) / 3).astype(np.float32)),
        ("batch.group_ids", lambda batch: batch["group_ids"].astype(np.float32)),
        ("batch.old_logp - 1", lambda batch: (batch["old_logp"] - 1) * batch["mask"]),
        ("batch.rewards.expand(7, -1).T", lambda batch: batch["rewards"][:, None] * batch["mask"]),
        ("batch.rewards.clone().requires_grad_() * 2", lambda batch: 2 * batch["rewards"]),
    ],
)
def test_advantages_come_as_float32_for_samples_or_tokens(process, here, value, wanted):
    program = f"{MEAN}\ndef compute_advantages(batch):\n    return {value}\n"
    batch = batch_of(np.random.default_rng(1))
    process.write(program)
    process.algorithm.begin(0)
    for of in (process.algorithm, here(program)):
        came = of.advantages(batch)
        assert came.dtype == np.float32
        assert np.array_equal(came, wanted(batch))


def test_what_is_changed_in_place_reaches_neither_trainer_nor_later_calls(process, here):
    vandal = """
import torch
def compute_advantages(batch):
    seen = batch.rewards.sum()
    for value in batch:
        if isinstance(value, torch.Tensor): value.fill_(1)
    return seen.expand(len(batch.rewards))
def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    seen = {"advantages": advantages.sum(), "mask": mask.sum()}
    for value in (old_logp, ref_logp, advantages, mask, logp.data): value.fill_(1)
    return logp.mean(), seen
"""
    batch = batch_of(np.random.default_rng(1))
    before = {name: np.copy(value) for name, value in batch.items()}
    advantages = np.full(24, 2, np.float32)
    process.write(vandal)
    process.algorithm.begin(0)
    for of in (process.algorithm, here(vandal)):
        for _ in range(2):
            assert (of.advantages(batch) == before["rewards"].sum()).all()
            assert ask(of, batch, advantages).metrics == {"advantages": 48, "mask": before["mask"].sum()}
    assert all(np.array_equal(batch[name], before[name]) for name in batch)
    assert (advantages == 2).all()


def test_metrics_are_few_and_finite_or_dropped(process, here):
    told = (
        "{'nan': float('nan'), 'inf': logp.sum() / 0, 'text': 'a', 'vector': logp, 3: 1.0, 'two words': 1, 'x' * 25: 1,"
    )
    told += " 'a\\nb': 1, 'none': None, 'tensor': logp.detach().sum() * 0 + 2, 'yes': True, 'kl/mean@1': 3,"
    program = loss(f"return logp.mean(), {told} **{{f'm{{n}}': n for n in range(1000)}}}}")
    batch = batch_of(np.random.default_rng(1))
    process.write(program)
    process.algorithm.begin(0)
    wanted = {"tensor": 2, "yes": 1, "kl/mean@1": 3, "m0": 0, "m1": 1, "m2": 2}
    assert ask(process.algorithm, batch).metrics == ask(here(program), batch).metrics == wanted


def test_the_trainers_own_mistakes_are_not_the_candidates(process):
    batch = batch_of(np.random.default_rng(1))
    with pytest.raises(ValueError, match="but it has no entropy"):
        process.algorithm.advantages({name: value for name, value in batch.items() if name != "entropy"})
    with pytest.raises(ValueError, match=r"lengths of the batch of shape \(24,\)"):
        process.algorithm.advantages(batch | {"lengths": np.ones(3)})
    with pytest.raises(ValueError, match=r"advantages of shape \(24,\) or \(24, 7\), but got \(24, 1\)"):
        ask(process.algorithm, batch, np.zeros((24, 1)))


def test_calls_and_their_time_are_counted(process):
    process.write(ZEROS + NO_LOSS)
    calls, seconds = process.algorithm.calls, process.algorithm.seconds
    process.algorithm.begin(0)
    process.algorithm.advantages(batch_of(np.random.default_rng(1)))
    assert process.algorithm.calls == calls + 2
    assert process.algorithm.seconds > seconds


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (ZEROS, "Expected algorithm.py to define policy_loss(logp, old_logp, ref_logp, advantages, mask, info)"),
        (MEAN, "Expected algorithm.py to define compute_advantages(batch), but it does not"),
        (ZEROS + "policy_loss = 3\n", "define policy_loss"),
    ],
    ids=["no loss", "no advantages", "no function"],
)
def test_a_program_without_the_two_functions_is_told_when_a_run_begins(process, program, words):
    process.write(program)
    with pytest.raises(CandidateFailed) as error:
        process.algorithm.begin(0)
    assert words in str(error.value)


@pytest.mark.slow
def test_a_program_without_the_two_functions_is_told_at_the_start(tmp_path):
    for name, program, words in (
        (
            "missing",
            ZEROS,
            "Expected the candidate to start, but it raised AttributeError: Expected algorithm.py to define",
        ),
        ("exits", "import sys\nsys.exit(3)\n", "it raised SystemExit: 3"),
    ):
        started = Process(tmp_path / name, program)
        try:
            with started.connected(), pytest.raises(CandidateFailed) as error:
                remote.RemoteAlgorithm()
            assert words in str(error.value)
        finally:
            started.end()
