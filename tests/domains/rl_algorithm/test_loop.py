"""What the trainer asks of an algorithm, what it does with the answers, and what it never lets an algorithm decide."""

import dataclasses
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from .bed_lab import SHORT, algorithm, loop, regimes, tasks, trained, warm_start, weights_of  # noqa: E402


class Witness:
    """An algorithm that keeps what it was asked, scribbles over it, and answers a gradient of its own."""

    def __init__(self, gradient=0.0, scribbles=True):
        self.batches, self.asked, self.begun = [], [], []
        self.gradient, self.scribbles = gradient, scribbles

    def begin(self, seed):
        self.begun.append(seed)

    def advantages(self, batch):
        self.batches.append({name: array.copy() for name, array in batch.items()})
        self._scribble(batch)
        return np.zeros(len(self.batches[-1]["rewards"]), np.float32)

    def loss(self, logp, old_logp, ref_logp, advantages, mask, info):
        asked = {"logp": logp, "old_logp": old_logp, "ref_logp": ref_logp, "advantages": advantages, "mask": mask}
        self.asked.append(({name: array.copy() for name, array in asked.items()}, {**info}))
        gradient = np.full_like(logp, self.gradient)
        self._scribble(asked)
        return algorithm.Answer(0.5, gradient, {f"m{number}": 1.0 for number in range(8)})

    def _scribble(self, arrays):
        for array in arrays.values() if self.scribbles else ():
            array[...] = 7


def comparable(run):
    return {**dataclasses.asdict(run), "cpu_seconds": None}


def test_without_a_gradient_the_warm_start_stays_as_it_is_to_the_bit():
    for regime in regimes.KNOWN:
        done = trained("no_op", regime)
        assert all(
            torch.equal(one, other)
            for one, other in zip(weights_of(done.model), weights_of(warm_start.warm_start()), strict=True)
        )
        assert done.run.pass_at_1 == done.run.warm.pass_at_1 and done.run.greedy == done.run.warm.greedy
        assert done.run.kl == 0.0 and done.run.length == done.run.length_start
        assert {share for _, share in done.run.curve} == {done.run.warm.pass_at_1}


def test_a_run_repeats_to_the_bit():
    one, other = trained("grpo", seed=4), trained("grpo", seed=4)
    assert comparable(one.run) == comparable(other.run)
    assert one.told == other.told
    assert all(torch.equal(*pair) for pair in zip(weights_of(one.model), weights_of(other.model), strict=True))


@pytest.mark.parametrize("changed", [{"seed": 5}, {"hidden_seed": 1}])
def test_another_seed_is_another_run_and_the_hidden_one_counts(changed):
    one, other = Witness(), Witness()
    trained(one, **{"seed": 4, **changed})
    trained(other, seed=4)
    assert not np.array_equal(one.batches[0]["old_logp"], other.batches[0]["old_logp"])


def test_an_algorithm_is_told_the_seed_and_never_the_hidden_one():
    witness = Witness()
    trained(witness, seed=4, hidden_seed=123_456)
    assert witness.begun == [4]
    assert not any(123_456 in np.ravel(array) for batch in witness.batches for array in batch.values())


def test_a_batch_has_the_promised_form():
    witness = Witness()
    trained(witness)
    for step, batch in enumerate(witness.batches):
        assert tuple(batch) == algorithm.BATCH_ARRAYS
        assert (batch["step"], batch["total_steps"], batch["group_size"]) == (step, 3, 4)
        assert batch["group_ids"].tolist() == [group for group in range(8) for _ in range(4)]
        assert set(batch["rewards"]) <= {0.0, 1.0}
        assert (batch["mask"].sum(axis=1) == batch["lengths"]).all()
        outside = batch["mask"] == 0
        assert outside.any() and (batch["old_logp"][outside] == 0).all() and (batch["entropy"][outside] == 0).all()
        assert (batch["old_logp"] <= 0).all() and (batch["entropy"] >= 0).all()
        floats = {name: str(array.dtype) for name, array in batch.items() if array.dtype != np.int64}
        assert floats == dict.fromkeys(("rewards", "mask", "old_logp", "entropy"), "float32")


def test_every_epoch_asks_for_each_group_once_and_whole():
    witness = Witness()
    trained(witness, "stress")
    assert len(witness.batches) == 2 and len(witness.asked) == 2 * 8 * 4
    for epoch in range(16):
        of_epoch = [info["group_ids"] for _, info in witness.asked[4 * epoch : 4 * epoch + 4]]
        assert all((ids.reshape(-1, 4) == ids[::4, None]).all() for ids in of_epoch)
        assert sorted(np.concatenate(of_epoch)) == sorted(witness.batches[0]["group_ids"])


def test_a_minibatch_holds_the_rows_of_its_groups():
    witness = Witness()
    trained(witness)
    asked, info = witness.asked[0]
    batch = witness.batches[0]
    rows = np.flatnonzero(np.isin(batch["group_ids"], info["group_ids"]))
    order = np.argsort(info["group_ids"], kind="stable")
    assert np.array_equal(asked["old_logp"][order], batch["old_logp"][rows])
    assert np.array_equal(info["rewards"][order], batch["rewards"][rows])
    assert np.array_equal(asked["mask"], (asked["logp"] != 0).astype(np.float32))


def test_before_the_first_update_all_three_log_probabilities_agree():
    witness = Witness()
    trained(witness)
    asked, _ = witness.asked[0]
    assert np.allclose(asked["logp"], asked["old_logp"], atol=1e-5)
    assert np.allclose(asked["logp"], asked["ref_logp"], atol=1e-5)


def test_what_an_algorithm_writes_into_its_arrays_changes_nothing():
    scribbling, still = trained(Witness(0.01)), trained(Witness(0.01, scribbles=False))
    assert comparable(scribbling.run) == comparable(still.run)


def test_a_gradient_outside_the_mask_does_nothing():
    class Outside(Witness):
        def loss(self, logp, old_logp, ref_logp, advantages, mask, info):
            answer = super().loss(logp, old_logp, ref_logp, advantages, mask.copy(), info)
            return answer._replace(gradient=np.where(mask == 0, 1.0, 0.0).astype(np.float32))

    done = trained(Outside(scribbles=False))
    assert comparable(done.run) == comparable(trained("no_op").run)


def test_the_largest_gradient_takes_no_larger_step_than_one_of_norm_one():
    huge, large, none = (weights_of(trained(Witness(size)).model) for size in (3e38, 1e3, 0.0))
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(huge, large, strict=True))
    assert not any(torch.allclose(one, other, atol=1e-4) for one, other in zip(huge[-2:], none[-2:], strict=True))


class Grows(Witness):
    """Its loss is scaled up from update to update, so that the optimiser always expects less than comes."""

    def __init__(self, start, factor, hold):
        super().__init__(scribbles=False)
        self.start, self.factor, self.hold = start, factor, hold

    def loss(self, *arrays):
        answer = super().loss(*arrays)
        size = self.start * self.factor ** max(0, len(self.asked) - self.hold)
        return answer._replace(gradient=np.full_like(answer.gradient, size))


@pytest.mark.parametrize("sizes", [(1e-6, 1e9, 40), (1e-5, 0.95 / 0.9, 0)], ids=["at once", "by 5.6 % an update"])
def test_no_growing_loss_takes_steps_much_beyond_the_learning_rate(sizes):
    settings = dataclasses.replace(regimes.regime("on_policy", SHORT), epochs=1, minibatches=1)
    weights, grows = warm_start.warm_start(), Grows(*sizes)
    trainer = loop.Trainer(weights, grows, settings, (0, 0, 0))
    largest = []
    for step in range(44):
        before = torch.cat([one.flatten() for one in weights_of(weights)])
        trainer.update(trainer.sample(step))
        after = torch.cat([one.flatten() for one in weights_of(weights)])
        largest.append(float((after - before).abs().max()))
    assert len(grows.asked) == 44
    assert 0 < max(largest) <= 1.166 * settings.learning_rate
    assert max(largest[40:]) > 0.3 * settings.learning_rate, "and the large ones have come through"


def test_the_place_of_a_group_does_not_tell_its_task():
    trainer = loop.Trainer(warm_start.warm_start(), Witness(), regimes.regime("on_policy", SHORT), (0, 0, 0))
    signs = torch.tensor([tasks.ALPHABET.index(sign) for sign in "+%s"])
    places = [(trainer.sample(step).prompts.unsqueeze(-1) == signs).any(dim=1).float().argmax(-1) for step in range(4)]
    assert len({tuple(tasks_.tolist()) for tasks_ in places}) == 4, "another order in every step"
    counts = [torch.bincount(tasks_, minlength=3).tolist() for tasks_ in places]
    assert counts == [[3, 3, 2]] * 4, "and as many of each task as before"


def test_evaluation_asks_the_algorithm_nothing():
    often, seldom = Witness(), Witness()
    trained(often, curve_points=3, evaluation_prompts=96)
    trained(seldom, curve_points=1, evaluation_prompts=24)
    assert len(often.asked) == len(seldom.asked) == 3 * 2 * 2


def test_about_fifteen_of_a_hundred_rewards_are_flipped_and_only_where_asked():
    draws = np.random.default_rng(0)
    shares = {name: [] for name in regimes.KNOWN}
    for name, found in shares.items():
        settings = dataclasses.replace(regimes.regime(name, {**SHORT, "prompts": 200}), samples=8)
        trainer = loop.Trainer(warm_start.warm_start(), Witness(), settings, (int(draws.integers(2**31)), 0, 0))
        sampled = trainer.sample(0)
        for group, prompt in enumerate(sampled.prompts.tolist()):
            question = question_of("".join(tasks.ALPHABET[token] for token in prompt).strip())
            for row in range(8 * group, 8 * group + 8):
                right = tasks.verify(question, sampled.answers.tokens[row].numpy())
                found.append(sampled.batch["rewards"][row] != right)
    assert 0.12 < np.mean(shares["flipped"]) < 0.18
    assert not any(shares["on_policy"]) and not any(shares["stress"])


def question_of(prompt):
    """The question of a prompt, with its answer worked out anew."""
    if "+" in prompt:
        return tasks.Question("add", prompt, str(sum(map(int, prompt.strip("=").split("+")))))
    if "%" in prompt:
        a, m = map(int, prompt.strip("=").split("%"))
        return tasks.Question("mod", prompt, str(a % m))
    return tasks.Question("sort", prompt, "".join(sorted(prompt.strip("s="))))


def test_regimes_of_one_seed_share_neither_prompts_nor_samples():
    """With the same prompts, true rewards of one regime would show which of another are flipped."""
    witnesses = {name: Witness() for name in regimes.KNOWN}
    done = {name: trained(witness, name) for name, witness in witnesses.items()}
    first = [witness.batches[0]["old_logp"] for witness in witnesses.values()]
    assert not any(np.array_equal(one, other) for one, other in itertools.combinations(first, 2))
    assert len({one.run.warm.entropy for one in done.values()}) == 3, "nor what they are measured by"


def test_stress_moves_further_from_its_samples_than_on_policy():
    assert trained("no_clip", "stress", 5).run.clip_fraction > trained("no_clip", "on_policy", 5).run.clip_fraction


def test_progress_tells_the_third_once_and_fits_a_line():
    done = trained(Witness(), steps=6)
    assert [step for step, _ in done.told] == list(range(7))
    assert [step for step, told in done.told if "third.gain" in told] == [2]
    shares = [(step, told["pass@1"]) for step, told in done.told if "pass@1" in told]
    assert shares == done.run.curve and [step for step, _ in shares] == [0, 2, 3, 6]
    assert max(len(told) for _, told in done.told) + 3 <= 16  # step, of, run


def test_prompts_that_do_not_divide_into_minibatches_are_refused():
    with pytest.raises(ValueError, match="divide into 4 minibatches of whole groups, but got 10"):
        regimes.regime("stress", {**SHORT, "prompts": 10})


def test_a_regime_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="on_policy, stress, flipped, but got 'calm'"):
        regimes.regime("calm", {})


@pytest.mark.slow
def test_known_answers_show_within_thirty_steps():
    settings = {"prompts": 24, "samples": 8, "steps": 30, "evaluation_prompts": 384, "curve_points": 1}
    learnt = trained("grpo", **settings).run
    assert learnt.pass_at_1 > learnt.warm.pass_at_1 + 0.1
    for wrong in ("flipped_sign", "length_as_advantage"):
        assert trained(wrong, **settings).run.pass_at_1 < 0.03


@pytest.mark.parametrize(
    "name",
    ["grpo", "grpo_kl", "no_clip", "dr_grpo", "dapo", "gspo", "rloo", "reinforce", "pairwise_tanh", "budget_radius"],
)
def test_each_reference_program_trains(name):
    done = trained(name, "stress", seed=5)
    assert done.run.kl > 0 and 0 <= done.run.pass_at_1 <= 1
