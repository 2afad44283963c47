"""TRL's trainer with an algorithm that is asked: TRL's own numbers for GRPO, and nothing but the answers moves it."""

import itertools
import json
import os
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for package in ("trl", "math_verify", "datasets"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'asi-evolve-mcp[rl]'")
os.environ |= {"TOKENIZERS_PARALLELISM": "false"}

from . import real_lab  # noqa: E402 -- only where there is something to test
from .boundary_lab import imported  # noqa: E402

verify, model_folder, checking, problems, settings_of, boundary_checking, in_process = imported(
    "real.verify",
    "real.model_folder",
    "real.checking",
    "real.problems",
    "real.settings",
    "boundary.checking",
    "boundary.in_process",
)
Checker, Settings, read, BATCH_FORM = (
    checking.Checker,
    settings_of.Settings,
    problems.read,
    boundary_checking.BATCH_FORM,
)

TRL_EPSILON = real_lab.BASELINE.replace("EPSILON = 1e-6", "EPSILON = 1e-4")
"""GRPO with the constant that TRL adds to the deviation of a group."""

NO_OP = """
def compute_advantages(batch):
    return batch.rewards * 0
def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    return (logp * 0).sum()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return real_lab.make_data(tmp_path_factory.mktemp("data"))


def algorithm_of(text, folder):
    """An algorithm in this process, out of a text."""
    folder.mkdir(parents=True)
    path = folder / "algorithm.py"
    path.write_text(text, encoding="utf-8")
    found = in_process.InProcessAlgorithm(path)
    found.begin(0)
    return found


class Recording:
    """An algorithm that writes down what it was told."""

    def __init__(self, inner):
        self.inner, self.batches, self.minibatches = inner, [], []

    def begin(self, seed):
        self.inner.begin(seed)

    def advantages(self, batch):
        self.batches.append(batch)
        return self.inner.advantages(batch)

    def loss(self, *arrays):
        self.minibatches.append(arrays)
        return self.inner.loss(*arrays)


def make_trainer(data, algorithm, folder, settings):
    model, tokenizer = model_folder.load(data / "model", "cpu")
    problems = read(data / "problems.jsonl")
    return verify.make_trainer(model, tokenizer, problems, algorithm, settings, 0, Checker(), folder, chat=False)


def trls_own(data, folder, settings):
    """TRL's trainer with its own loss, GRPO as published: loss_type grpo (mean over a sequence, then over sequences),
    rewards by the deviation of their group, clip 0.2, no KL."""
    import datasets
    from trl import GRPOTrainer

    model, tokenizer = model_folder.load(data / "model", "cpu")
    arguments = verify.configuration(settings, 0, folder, on_gpu=False)
    arguments.beta = 0.0
    assert (arguments.loss_type, arguments.scale_rewards, arguments.epsilon) == ("grpo", "group", 0.2)
    return GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=arguments,
        train_dataset=datasets.Dataset.from_list([{"prompt": "1+1=", "answer": "2"}] * 8),
    )


def a_rollout(trainer, data):
    """One rollout whose rewards differ within groups, with the advantages that TRL itself made of them."""
    kept = {}

    def scored(completions, **_):
        kept["rewards"] = [float("7" in text) + len(text) % 3 for text in completions]
        return kept["rewards"]

    trainer.reward_funcs[0] = scored
    trainer.model.train()
    rows = [{"prompt": found.prompt, "answer": found.answer} for found in read(data / "problems.jsonl")[:4]]
    ask = trainer._advantages

    def keep_and_ask(output):
        kept["trl"] = output["advantages"].clone()
        return ask(output)

    trainer._advantages = keep_and_ask
    rollout = trainer._generate_and_score_completions([row for row in rows for _ in range(trainer.num_generations)])
    assert len(set(kept["rewards"])) > 1
    return rollout, kept["trl"]


@pytest.mark.slow
def test_grpo_behind_the_boundary_is_trls_own_grpo(data, tmp_path):
    settings = Settings(steps=4, prompts=4, samples=8, minibatches=2, epochs=2, max_completion=4)
    ours = make_trainer(data, algorithm_of(TRL_EPSILON, tmp_path / "c"), tmp_path / "ours", settings)
    theirs = trls_own(data, tmp_path / "theirs", settings)
    rollout, their_advantages = a_rollout(ours, data)
    assert torch.allclose(rollout["advantages"], their_advantages, atol=1e-5)

    # Away from the policy that sampled, or every ratio is 1 and nothing is clipped.
    with torch.no_grad():
        for mine, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
            assert torch.equal(mine, other)
            moved = torch.randn(mine.shape, generator=torch.Generator().manual_seed(mine.numel())) * 0.03
            mine += moved
            other += moved
    theirs.model.train()
    for trainer in (ours, theirs):
        trainer.current_gradient_accumulation_steps = 1
    for part in ours._split(rollout, 2):
        ours.model.zero_grad()
        theirs.model.zero_grad()
        mine = ours._compute_loss(ours.model, part)
        other = theirs._compute_loss(theirs.model, part)
        mine.backward()
        other.backward()
        assert abs(mine.item() - other.item()) < 1e-5
        gradients = [(a.grad, b.grad) for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True)]
        assert max(float((a - b).abs().max()) for a, b in gradients) < 1e-5
        assert max(float(b.abs().max()) for _, b in gradients) > 1e-3
    assert ours.updates[-1].clip_fraction > 0.02


@pytest.mark.slow
def test_the_model_learns_by_the_answers_of_the_algorithm_and_by_nothing_else(data, tmp_path):
    lines = []
    settings = Settings(
        steps=20,
        prompts=4,
        samples=8,
        minibatches=2,
        epochs=2,
        learning_rate=3e-3,
        max_completion=3,
        held_out=0,
        held_out_samples=16,
        evaluate_every=10,
    )
    grpo = Recording(algorithm_of(real_lab.BASELINE, tmp_path / "grpo"))
    run = verify.train(data, grpo, settings, 1, lines.append)
    assert run.warm.pass_at_1 < 0.2 and run.pass_at_1 > 0.6
    assert [step for step, _ in run.curve] == [0, 7, 10, 20]
    assert run.curve[-1][1] == run.pass_at_1 == pytest.approx(np.mean(list(run.by_task.values())))
    assert run.kl > 0.3 and run.warm.kl == pytest.approx(0, abs=1e-5)
    assert run.entropy < run.warm.entropy

    assert [line["step"] for line in lines] == list(range(21))
    assert all(line["of"] == 20 and len(line) <= 16 for line in lines)
    assert lines[0]["pass@1"] == run.warm.pass_at_1 and lines[-1]["pass@1"] == run.pass_at_1

    assert len(grpo.batches) == 20 and len(grpo.minibatches) == 20 * 2 * 2
    check_what_was_told(grpo)

    still = verify.train(data, algorithm_of(NO_OP, tmp_path / "no_op"), settings._replace(steps=3), 1, print)
    assert (still.pass_at_1, still.greedy, still.entropy) == (
        still.warm.pass_at_1,
        still.warm.greedy,
        still.warm.entropy,
    )
    assert still.warm == run.warm


def check_what_was_told(algorithm):
    """The forms of the contract; whole groups as neighbours; zeros outside the mask; both epochs see every row."""
    for step, batch in enumerate(algorithm.batches):
        assert set(batch) == set(BATCH_FORM)
        assert (int(batch["step"]), int(batch["total_steps"]), int(batch["group_size"])) == (step, 20, 8)
        assert batch["group_ids"].tolist() == [row // 8 for row in range(32)]
        assert np.array_equal(batch["lengths"], batch["mask"].sum(axis=1))
        assert not (batch["old_logp"][batch["mask"] == 0]).any() and not (batch["entropy"][batch["mask"] == 0]).any()
        assert (batch["entropy"][batch["mask"] == 1] > 0).all()
        of_step = algorithm.minibatches[4 * step : 4 * step + 4]
        for epoch in (of_step[:2], of_step[2:]):
            seen = [group for *_, info in epoch for group, _ in itertools.groupby(info["group_ids"].tolist())]
            assert sorted(seen) == [0, 1, 2, 3]
        logp, old, reference, advantages, mask, info = of_step[0]
        assert np.allclose(logp, old, atol=1e-5)  # nothing has moved since the rollout
        assert advantages.shape == (16,) and logp.shape == mask.shape == reference.shape
        assert np.array_equal(info["rewards"], batch["rewards"].reshape(4, 8)[info["group_ids"][::8]].ravel())
    assert any((m[0] != m[1]).any() for m in algorithm.minibatches)
    assert any(set(batch["rewards"]) == {0.0, 1.0} for batch in algorithm.batches)


def test_a_model_with_programs_of_its_own_or_pickled_weights_is_refused(data, tmp_path):
    folder = shutil.copytree(data / "model", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "x.Y"}}))
    with pytest.raises(ValueError, match="brings its own code"):
        model_folder.files_of(folder)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="safetensors"):
        model_folder.files_of(folder)
    with pytest.raises(ValueError, match=r"no config.json"):
        model_folder.files_of(tmp_path)


@pytest.mark.parametrize(
    ("completion", "answer", "right"),
    [
        (r"so it is $\boxed{\frac{1}{2}}$.", "0.5", True),
        ("The sum is 1,202.", "1202", True),
        (r"first 7, but then \boxed{8}", "7", False),
        ("", "7", False),
        (r"\boxed{", "7", False),
        ("x" * 3000, "7", False),
    ],
)
def test_answers_are_compared_as_mathematics(completion, answer, right):
    assert Checker().is_right(completion, answer) is right
