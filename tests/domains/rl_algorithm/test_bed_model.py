"""The decoder, its cache, what is sampled from it, and the weights that every run starts from."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from .bed_lab import evaluation, loop, model, sampling, tasks, warm_start  # noqa: E402


@pytest.fixture(scope="module")
def decoder():
    return warm_start.warm_start()


@pytest.fixture(scope="module")
def prompts():
    return torch.from_numpy(tasks.encode_prompts(tasks.draw(12, np.random.default_rng(3))))


def sampled(decoder, prompts, samples=4, seed=0):
    return sampling.answer(decoder, prompts, samples, torch.Generator().manual_seed(seed))


def test_a_later_token_changes_nothing_before_it(decoder, prompts):
    tokens = torch.cat((prompts, sampled(decoder, prompts, 1).tokens), dim=1)
    changed = tokens.clone()
    changed[:, 9] = (changed[:, 9] + 1) % len(tasks.ALPHABET)
    before, after = decoder(tokens)[0], decoder(changed)[0]
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_token_by_token_with_the_cache_is_the_same_as_all_at_once(decoder, prompts):
    answers = sampled(decoder, prompts)
    whole, _ = decoder(torch.cat((prompts.repeat_interleave(4, 0), answers.tokens), dim=1))
    at_once = whole[:, tasks.PROMPT_WIDTH - 1 : -1].log_softmax(-1)
    chosen = at_once.gather(-1, answers.tokens.unsqueeze(-1)).squeeze(-1) * answers.mask
    assert torch.allclose(chosen, answers.logp, atol=1e-5)
    entropy = -(at_once.exp() * at_once).sum(-1) * answers.mask
    assert torch.allclose(entropy, answers.entropy, atol=1e-5)


def test_log_probabilities_that_are_trained_are_those_of_sampling(decoder, prompts):
    answers = sampled(decoder, prompts)
    trained = loop.token_logp(decoder, prompts, answers.tokens, answers.mask)
    assert torch.allclose(trained, answers.logp, atol=1e-5)


def test_answers_end_once_and_nothing_is_counted_behind_it(decoder, prompts):
    answers = sampled(decoder, prompts, 40)
    ended = answers.tokens == tasks.END
    for row in range(len(answers.tokens)):
        end = int(ended[row].int().argmax()) + 1 if ended[row].any() else tasks.ANSWER_LIMIT
        assert answers.lengths[row] == end
        assert answers.mask[row].tolist() == [1.0] * end + [0.0] * (tasks.ANSWER_LIMIT - end)
        assert (answers.logp[row, end:] == 0).all() and (answers.entropy[row, end:] == 0).all()


def test_tokens_are_drawn_as_often_as_their_probability_says(decoder, prompts):
    first = sampled(decoder, prompts[:1], 20_000).tokens[:, 0]
    expected = decoder(prompts[:1])[0][0, -1].softmax(-1)
    observed = torch.bincount(first, minlength=len(tasks.ALPHABET)) / 20_000
    assert (observed - expected).abs().max() < 0.015


def test_the_same_seed_draws_the_same_and_another_does_not(decoder, prompts):
    assert torch.equal(sampled(decoder, prompts).tokens, sampled(decoder, prompts).tokens)
    assert not torch.equal(sampled(decoder, prompts).tokens, sampled(decoder, prompts, seed=1).tokens)


def test_greedy_takes_the_most_likely_token(decoder, prompts):
    answers = sampling.answer(decoder, prompts)
    assert torch.equal(answers.tokens[:, 0], decoder(prompts)[0][:, -1].argmax(-1))


def test_rewards_go_to_the_prompt_that_was_answered():
    questions = [tasks.Question("sort", "s321=", "123"), tasks.Question("add", "95+8=", "103")]
    tokens = torch.tensor([right_answer(text) for text in ("123.", "103.", "103.", "103.")])
    answers = sampling.Answers(tokens, *[torch.zeros(tokens.shape)] * 3)
    assert evaluation.rewards(questions, answers).tolist() == [1, 0, 1, 1]


def right_answer(text):
    return (tasks.encode(text) + [tasks.END] * tasks.ANSWER_LIMIT)[: tasks.ANSWER_LIMIT]


def test_the_warm_start_is_small_float32_and_says_what_made_it():
    with np.load(warm_start.FILE, allow_pickle=False) as stored:
        command, seed = str(stored["command"]), int(stored["seed"])
        arrays = [stored[name] for name in stored.files if name not in ("command", "seed")]
    assert command.startswith("python bed/warm_start.py --steps ") and command.endswith(f"--seed {seed}")
    assert {str(array.dtype) for array in arrays} == {"float32"}
    assert sum(array.size for array in arrays) == 57_552
    assert warm_start.FILE.stat().st_size < 250_000


def test_the_warm_start_is_right_now_and_then(decoder):
    found = evaluation.Evaluator(decoder, 768, (0, 0, 1)).full(decoder)
    assert 0.08 < found.pass_at_1 < 0.15
    assert found.kl == 0.0
    assert 0.5 < found.entropy < 2.0


def test_learning_the_warm_start_repeats_to_the_bit_and_gets_stored_whole(tmp_path):
    one, other = warm_start.learn(3, seed=5), warm_start.learn(3, seed=5)
    warm_start.store(one, tmp_path / "made.npz", "python bed/warm_start.py --steps 3 --seed 5", 5)
    stored = model.load(tmp_path / "made.npz")
    for first, second, third in zip(one.parameters(), other.parameters(), stored.parameters(), strict=True):
        assert torch.equal(first, second) and torch.equal(first, third)
