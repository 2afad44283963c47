"""The recipes of cognition.yaml run: what a snippet computes is what its item says, and it keeps to the interface.

Each test below the first ones is one item: its equation, as a loop over samples and tokens, against its snippet.
"""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import asi_evolve
import pytest
from asi_evolve.domains.cognition_file import read_items

torch = pytest.importorskip("torch")

FILE = Path(asi_evolve.__file__).parent / "domains" / "rl_algorithm" / "cognition.yaml"
GROUPS, GROUP_SIZE, LONGEST = 6, 8, 5
ROWS = GROUPS * GROUP_SIZE
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
ITEMS = read_items(FILE)
RECIPES = {item.title: item for item in ITEMS if "evaluation" not in item.tags}


def program(title):
    """The functions and constants of an item's snippet; a function that it leaves out is None."""
    (item,) = [item for name, item in RECIPES.items() if title in name]
    (code,) = SNIPPET.findall(item.body)
    namespace = {"compute_advantages": None, "policy_loss": None}
    exec(compile(code, title, "exec"), namespace)
    return SimpleNamespace(**namespace)


def a_batch(seed=0, rate=0.4):
    """What a candidate is given: groups with none, some and all of their rewards, answers of 1 to LONGEST tokens."""
    generator = torch.Generator().manual_seed(seed)
    rewards = (torch.rand(GROUPS, GROUP_SIZE, generator=generator) < rate).float()
    rewards[0], rewards[1], rewards[2] = 0.0, 1.0, torch.eye(GROUP_SIZE)[0]
    lengths = torch.randint(1, LONGEST + 1, (ROWS,), generator=generator)
    mask = (torch.arange(LONGEST) < lengths[:, None]).float()
    return SimpleNamespace(
        rewards=rewards.flatten(),
        group_ids=torch.arange(GROUPS).repeat_interleave(GROUP_SIZE),
        group_size=GROUP_SIZE,
        lengths=lengths,
        mask=mask,
        old_logp=-torch.rand(ROWS, LONGEST, generator=generator) * 3 * mask,
        entropy=torch.rand(ROWS, LONGEST, generator=generator) * mask,
        step=10,
        total_steps=70,
    )


class Call:
    """The arguments of one policy_loss; `moved` is the deviation of log ratios, 0 for the first minibatch."""

    def __init__(self, moved=0.5, advantages=None, seed=0):
        self.info = a_batch(seed)
        generator = torch.Generator().manual_seed(seed + 1)
        self.mask, self.old = self.info.mask, self.info.old_logp
        moves = torch.randn(ROWS, LONGEST, generator=generator) * moved
        self.ref = (self.old - 0.3 * torch.rand(ROWS, LONGEST, generator=generator)) * self.mask
        self.logp = ((self.old + moves) * self.mask).requires_grad_()
        self.a = torch.randn(ROWS, generator=generator) if advantages is None else advantages
        self.ratio = torch.exp(self.logp.detach() - self.old)

    def loss(self, function):
        found = function(self.logp, self.old, self.ref, self.a, self.mask, self.info)
        return found[0] if isinstance(found, tuple) else found

    def gradient(self, function):
        return torch.autograd.grad(self.loss(function), self.logp)[0]

    def tokens(self):
        """(row, position) of every token of an answer."""
        return [(int(row), int(place)) for row, place in self.mask.nonzero()]


def grouped(batch):
    """The rewards of each group, as lists of numbers."""
    return [group.tolist() for group in batch.rewards.view(-1, batch.group_size)]


def near(found, wanted, tolerance=1e-5):
    wanted = torch.as_tensor(wanted, dtype=torch.float32)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= tolerance * max(1.0, wanted.abs().max().item())


def clipped(ratio, a, low=0.2, high=0.2):
    return min(ratio * a, min(max(ratio, 1 - low), 1 + high) * a)


def deviation(values, mean):
    """With n - 1."""
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def by_sequence(call, gain):
    """Minus the mean over answers of the mean over tokens of `gain(row, place)`."""
    sums = [0.0] * ROWS
    for row, place in call.tokens():
        sums[row] += float(gain(row, place)) / int(call.info.lengths[row])
    return torch.tensor(-sum(sums) / ROWS)


def by_token(call, gain):
    tokens = call.tokens()
    return torch.tensor(-sum(float(gain(row, place)) for row, place in tokens) / len(tokens))


def clipped_gain(call, low=0.2, high=0.2):
    return lambda row, place: clipped(float(call.ratio[row, place]), float(call.a[row]), low, high)


@pytest.mark.parametrize("title", RECIPES)
def test_every_snippet_keeps_to_the_interface(title):
    part = program(title)
    assert part.compute_advantages or part.policy_loss
    if part.compute_advantages:
        for rate in (0.0, 0.1, 0.4, 1.0):
            found = part.compute_advantages(a_batch(rate=rate))
            assert found.shape in {(ROWS,), (ROWS, LONGEST)}
            assert found.dtype == torch.float32
            assert torch.isfinite(found).all()
    if part.policy_loss:
        for moved in (0.0, 0.5, 3.0):
            call = Call(moved)
            loss = call.loss(part.policy_loss)
            assert loss.shape == ()
            assert torch.isfinite(loss)
            gradient = call.gradient(part.policy_loss)
            assert torch.isfinite(gradient).all()
            assert (gradient[call.mask == 0] == 0).all()
            assert gradient.abs().sum() > 0


@pytest.mark.parametrize("title", RECIPES)
def test_advantages_of_samples_and_of_tokens_are_both_taken(title):
    part = program(title)
    if part.policy_loss is None:
        assert part.compute_advantages(a_batch()).ndim == 1
        return
    call = Call()
    spread = Call(advantages=call.a[:, None].expand(ROWS, LONGEST) * call.mask)
    near(spread.loss(part.policy_loss), call.loss(part.policy_loss).detach())


@pytest.mark.parametrize("title", RECIPES)
def test_a_loss_falls_along_its_own_advantages(title):
    """At the first minibatch, a token of an answer with A > 0 is pushed up and one with A < 0 down, or left alone."""
    part = program(title)
    if part.policy_loss is None:
        a = part.compute_advantages(a_batch())
        mixed = a_batch().rewards[2 * GROUP_SIZE :], a[2 * GROUP_SIZE :]
        assert mixed[1][mixed[0] == 1].min() > mixed[1][mixed[0] == 0].max() - 1e-6
        return
    strong = torch.where(torch.arange(ROWS) % 2 == 0, 2.0, -2.0)
    call = Call(0.0, advantages=strong)
    gradient = call.gradient(part.policy_loss)
    wrong_way = ((gradient * strong[:, None]) > 1e-9) & (call.mask == 1)
    assert wrong_way.float().sum() <= 0.05 * call.mask.sum()


def test_metrics_are_plain_numbers():
    for title in ("VAPO", "dual-clip"):
        call = Call()
        _, metrics = program(title).policy_loss(call.logp, call.old, call.ref, call.a, call.mask, call.info)
        assert metrics
        assert all(type(value) is float and math.isfinite(value) for value in metrics.values())


def test_group_mean_and_deviation():
    part, batch = program("(GRPO)"), a_batch()
    wanted = []
    for group in grouped(batch):
        mean = sum(group) / len(group)
        wanted += [(reward - mean) / (deviation(group, mean) + 1e-6) for reward in group]
    near(part.compute_advantages(batch), wanted)
    one, four = [1.0] + [0.0] * 7, [1.0] * 4 + [0.0] * 4
    found = part.compute_advantages(SimpleNamespace(rewards=torch.tensor(one + four), group_size=8))
    assert round(found[0].item(), 1) == 2.5
    assert round(found[8].item(), 1) == 0.9
    call = Call()
    near(call.loss(part.policy_loss).detach(), by_sequence(call, clipped_gain(call)))


def test_dr_grpo_divides_by_neither_deviation_nor_length():
    part, batch = program("Dr. GRPO"), a_batch()
    near(
        part.compute_advantages(batch),
        [reward - sum(group) / len(group) for group in grouped(batch) for reward in group],
    )
    call = Call()
    total = by_token(call, clipped_gain(call)) * len(call.tokens())
    near(call.loss(part.policy_loss).detach(), total / (ROWS * LONGEST))


def test_clip_higher_has_two_bounds():
    call = Call()
    part = program("clip-higher")
    near(call.loss(part.policy_loss).detach(), by_sequence(call, clipped_gain(call, 0.2, 0.28)))
    call = Call(advantages=torch.ones(ROWS))
    held = call.gradient(part.policy_loss) == 0
    assert (held[call.mask == 1] == (call.ratio > 1.28)[call.mask == 1]).all()


def test_token_level_loss():
    call = Call()
    near(call.loss(program("token-level").policy_loss).detach(), by_token(call, clipped_gain(call)))


def test_mean_over_the_groups_that_disagree():
    batch = a_batch()
    found = program("Groups that agree").compute_advantages(batch).view(GROUPS, GROUP_SIZE)
    plain = program("(GRPO)").compute_advantages(batch).view(GROUPS, GROUP_SIZE)
    disagree = [len(set(group)) > 1 for group in grouped(batch)]
    assert 0 < sum(disagree) < GROUPS
    near(found, plain * GROUPS / sum(disagree))
    assert round((1 - 0.125) ** 8, 2) == 0.34


def test_sequence_ratio():
    part, call = program("GSPO"), Call(0.2)
    gains = []
    for row in range(ROWS):
        n = int(call.info.lengths[row])
        ratio = math.prod(call.ratio[row, :n].tolist()) ** (1 / n)
        gains.append(clipped(ratio, float(call.a[row]), part.LOW, part.HIGH))
    near(call.loss(part.policy_loss).detach(), -sum(gains) / ROWS)


def test_geometric_mean_of_clipped_token_ratios():
    part, call = program("GMPO"), Call()
    gains = []
    for row in range(ROWS):
        n, a = int(call.info.lengths[row]), float(call.a[row])
        product = 1.0
        for ratio in call.ratio[row, :n].tolist():
            narrow = min(max(ratio, math.exp(-part.RANGE)), math.exp(part.RANGE))
            product *= min(ratio, narrow) if a > 0 else max(ratio, narrow)
        gains.append(a * product ** (1 / n))
    near(call.loss(part.policy_loss).detach(), -sum(gains) / ROWS)


def test_leave_one_out_is_the_centred_reward_times_a_constant():
    batch = a_batch()
    found = program("RLOO").compute_advantages(batch)
    wanted = []
    for group in grouped(batch):
        wanted += [reward - (sum(group) - reward) / (len(group) - 1) for reward in group]
    near(found, wanted)
    near(found, program("Dr. GRPO").compute_advantages(batch) * GROUP_SIZE / (GROUP_SIZE - 1))


def test_one_deviation_for_the_whole_batch():
    batch = a_batch()
    centred = [reward - sum(group) / len(group) for group in grouped(batch) for reward in group]
    sd = deviation(centred, sum(centred) / ROWS)
    near(program("REINFORCE++").compute_advantages(batch), [value / sd for value in centred])


def test_positive_example_loss_imitates_right_answers_only():
    part, call = program("VAPO"), Call()
    right = [(row, place) for row, place in call.tokens() if call.info.rewards[row] == 1]
    nll = -sum(call.logp[row, place].item() for row, place in right) / len(right)
    near(call.loss(part.policy_loss).detach(), by_token(call, clipped_gain(call, 0.2, 0.28)) + part.MU * nll)
    call.info.rewards = torch.zeros(ROWS)
    near(call.loss(part.policy_loss).detach(), by_token(call, clipped_gain(call, 0.2, 0.28)))


def test_clipped_weights_give_the_gradient_of_the_surrogate_within_the_bounds_and_more_beyond():
    part, call = program("CISPO"), Call(0.1)
    assert call.ratio.max() < part.CEILING
    unclipped = torch.exp(call.logp - call.old) * call.a[:, None] * call.mask
    wanted = torch.autograd.grad(-unclipped.sum() / call.mask.sum(), call.logp)[0]
    near(call.gradient(part.policy_loss), wanted)
    call = Call(3.0, advantages=torch.ones(ROWS))
    weight = -call.gradient(part.policy_loss) * call.mask.sum()
    near(weight, call.ratio.clamp(max=part.CEILING) * call.mask)


def test_tokens_of_high_covariance_pay_for_their_move():
    part, call = program("Clip-Cov"), Call()
    tokens = call.tokens()
    mean_a = sum(float(call.a[row]) for row, _ in tokens) / len(tokens)
    mean_logp = sum(float(call.logp[row, place]) for row, place in tokens) / len(tokens)
    covariance = {
        (row, place): (float(call.a[row]) - mean_a) * (float(call.logp[row, place]) - mean_logp)
        for row, place in tokens
    }
    worst = sorted(tokens, key=covariance.__getitem__)[-max(1, int(part.SHARE * len(tokens))) :]
    penalty = sum(abs(math.log(float(call.ratio[token]))) for token in worst) * part.WEIGHT / len(tokens)
    near(call.loss(part.policy_loss).detach(), by_token(call, clipped_gain(call)) + penalty)
    # as the item says, nothing at the first minibatch
    first = Call(0.0)
    near(first.gradient(part.policy_loss), first.gradient(program("token-level").policy_loss))


class Enumerated:
    """Answers of one token, drawn in exact proportion to a distribution of logits: means over rows are expectations."""

    def __init__(self):
        counts = torch.tensor([1, 1, 2, 4, 8, 16])
        rows = torch.arange(len(counts)).repeat_interleave(counts)
        self.logits = torch.log(counts / counts.sum()).requires_grad_()
        self.reference = torch.log_softmax(torch.tensor([0.5, -1.0, 0.3, 1.0, 0.0, -0.5]), 0)
        self.all_logp = torch.log_softmax(self.logits, 0)
        self.logp = self.all_logp[rows][:, None]
        self.ref = self.reference[rows][:, None]
        self.mask = torch.ones(len(rows), 1)
        entropy = -(self.all_logp.exp() * self.all_logp).sum().detach()
        self.info = SimpleNamespace(entropy=entropy.expand(len(rows), 1), step=0, total_steps=10)

    def of(self, value):
        return torch.autograd.grad(value, self.logits, retain_graph=True)[0]

    def of_loss(self, function):
        no_advantage = torch.zeros(len(self.mask))
        return self.of(function(self.logp, self.logp.detach(), self.ref, no_advantage, self.mask, self.info))


def test_entropy_bonus_has_the_gradient_of_the_entropy():
    x, part = Enumerated(), program("entropy bonus")
    entropy = -(x.all_logp.exp() * x.all_logp).sum()
    near(x.of_loss(part.policy_loss) / part.BONUS, -x.of(entropy))


def test_k2_has_the_gradient_of_one_divergence_and_k3_that_of_the_other():
    x = Enumerated()
    to_reference = (x.all_logp.exp() * (x.all_logp - x.reference)).sum()
    from_reference = (x.reference.exp() * (x.reference - x.all_logp)).sum()
    assert (x.of(to_reference) - x.of(from_reference)).abs().max() > 0.05
    k2, k3 = program("k2 and k3"), program("KL penalty")
    near(x.of_loss(k2.policy_loss) / k2.BETA, x.of(to_reference))
    near(x.of_loss(k3.policy_loss) / k3.BETA, x.of(from_reference))
    near(x.of((x.logp - x.ref).mean()), torch.zeros(6))


def test_kl_penalty_fades_and_bounds_what_can_be_reached():
    part, call = program("KL penalty"), Call()
    with_penalty = call.loss(part.policy_loss)
    difference = call.ref - call.logp
    k3 = torch.exp(difference) - difference - 1
    wanted = by_sequence(call, lambda row, place: -part.BETA * (1 - 10 / 70) * float(k3[row, place]))
    near(with_penalty.detach() - by_sequence(call, clipped_gain(call)), wanted, 1e-6)
    call.info.step = call.info.total_steps
    near(call.loss(part.policy_loss).detach(), by_sequence(call, clipped_gain(call)))
    lifted = 0.125 * math.exp(1 / 0.2)
    assert round(lifted / (lifted + 1 - 0.125), 2) == 0.95


def test_dual_clip_bounds_what_a_wrong_token_can_cost():
    part = program("dual-clip")
    call = Call(3.0)

    def gain(row, place):
        a = float(call.a[row])
        plain = clipped(float(call.ratio[row, place]), a)
        return max(plain, part.DUAL * a) if a < 0 else plain

    near(call.loss(part.policy_loss).detach(), by_sequence(call, gain))
    gradient = call.gradient(part.policy_loss)
    beyond = (call.a[:, None] < 0) & (call.ratio > part.DUAL) & (call.mask == 1)
    assert beyond.any()
    assert (gradient[beyond] == 0).all()
    _, told = part.policy_loss(call.logp, call.old, call.ref, call.a, call.mask, call.info)
    up = ((call.a[:, None] > 0) & (call.ratio > 1.2) & (call.mask == 1)).sum()
    down = ((call.a[:, None] < 0) & (call.ratio < 0.8) & (call.mask == 1)).sum()
    assert (told["held_up"], told["held_down"]) == (up, down)


def test_baseline_weighted_by_length():
    batch = a_batch()
    lengths = [group.tolist() for group in batch.lengths.view(-1, GROUP_SIZE)]
    wanted = []
    for rewards, sizes in zip(grouped(batch), lengths, strict=True):
        baseline = sum(r * n for r, n in zip(rewards, sizes, strict=True)) / sum(sizes)
        wanted += [reward - baseline for reward in rewards]
    near(program("OPO").compute_advantages(batch), wanted)


def test_an_affine_correction_of_flipped_rewards_is_lost_in_normalisation():
    batch, grpo = a_batch(), program("(GRPO)")
    corrected = SimpleNamespace(rewards=(batch.rewards - 0.15) / 0.7, group_size=GROUP_SIZE)
    near(grpo.compute_advantages(corrected), grpo.compute_advantages(batch), 1e-4)


def test_credibility_is_the_posterior_under_flips():
    part = program("Rewards that lie")
    batch = a_batch()
    overall = batch.rewards.mean().item()
    beliefs = []
    for group in grouped(batch):
        seen = (sum(group) + part.PRIOR * overall) / (len(group) + part.PRIOR)
        p = min(max((seen - part.FLIPPED) / (1 - 2 * part.FLIPPED), 0.02), 0.98)
        kept, flipped = p * (1 - part.FLIPPED), (1 - p) * part.FLIPPED
        false, true = p * part.FLIPPED, (1 - p) * (1 - part.FLIPPED)
        belief = [kept / (kept + flipped) if reward else false / (false + true) for reward in group]
        beliefs += [one - sum(belief) / len(belief) for one in belief]
    near(part.compute_advantages(batch), [value / deviation(beliefs, 0.0) for value in beliefs])


@pytest.mark.parametrize(("rate", "wanted"), [(0.125, 0.45), (0.5, 0.85)])
def test_how_credible_a_success_is(rate, wanted):
    generator = torch.Generator().manual_seed(0)
    right = torch.rand(400_000, generator=generator) < rate
    seen = right ^ (torch.rand(400_000, generator=generator) < 0.15)
    assert abs(right[seen].float().mean().item() - wanted) < 0.01


def test_pairwise_tanh_and_dropped_tokens():
    part, batch = program("evolved design A"), a_batch()
    graded = SimpleNamespace(rewards=torch.rand(ROWS, generator=torch.Generator().manual_seed(0)), group_size=8)
    wanted = []
    for group in grouped(graded):
        wanted += [sum(math.tanh(one - other) for other in group) / (len(group) - 1) for one in group]
    near(part.compute_advantages(graded), wanted)
    near(part.compute_advantages(batch), math.tanh(1) * program("RLOO").compute_advantages(batch))
    assert round(math.tanh(1), 2) == 0.76
    call = Call()
    impact = {(row, place): float(call.logp[row, place].exp() * call.a[row].abs()) for row, place in call.tokens()}
    ordered = sorted(impact.values())
    limit = ordered[math.ceil((1 - part.DROPPED) * (len(ordered) - 1)) - 1]

    def gain(row, place):
        a, ratio = float(call.a[row]), float(call.ratio[row, place])
        return clipped(ratio, a, 0.2, 0.28) if a > 0 else clipped(ratio, a, 0.15, 0.2)

    near(
        call.loss(part.policy_loss).detach(),
        by_sequence(call, lambda row, place: gain(row, place) * (impact[row, place] <= limit)),
    )


def test_no_token_passes_the_budget():
    part, batch = program("evolved design B"), a_batch()
    a = part.compute_advantages(batch)
    assert a.abs().max() <= part.BUDGET
    call = Call(3.0, advantages=a)

    def gain(row, place):
        one = float(a[row])
        radius = min(max(math.log(part.BUDGET / max(abs(one), 1e-6)), 0.0), part.WIDEST)
        assert math.exp(radius) * abs(one) <= part.BUDGET * (1 + 1e-6)
        ratio = float(call.ratio[row, place])
        return min(ratio * one, min(max(ratio, math.exp(-radius)), math.exp(radius)) * one)

    near(call.loss(part.policy_loss).detach(), by_sequence(call, gain))


def test_whole_answers_are_weighted_and_the_weight_is_truncated():
    part, call = program("(TIS)"), Call()
    gradient = call.gradient(part.policy_loss)
    for row in range(ROWS):
        n = int(call.info.lengths[row])
        weight = min(math.prod(call.ratio[row, :n].tolist()), part.CEILING)
        near(gradient[row, :n], [-weight * float(call.a[row]) / (ROWS * LONGEST)] * n)


def test_failures_weigh_less():
    part, batch = program("asymmetric weights"), a_batch()
    found, plain = part.compute_advantages(batch), program("(GRPO)").compute_advantages(batch)
    near(found, [value if value > 0 else part.DOWN * value for value in plain.tolist()])


def test_a_constant_on_the_loss_is_invisible_to_the_optimiser_and_so_left_out():
    def trained(factor):
        torch.manual_seed(0)
        weights = torch.nn.Parameter(torch.randn(20))
        optimiser = torch.optim.AdamW([weights], lr=5e-4)
        for _ in range(30):
            optimiser.zero_grad()
            (factor * (weights - torch.randn(20)).square().sum()).backward()
            torch.nn.utils.clip_grad_norm_([weights], 1.0)
            optimiser.step()
        return weights.detach()

    assert (trained(1.0) - trained(7.0)).abs().max() < 1e-6
    part, batch = program("scale of a loss"), a_batch()
    found = part.compute_advantages(batch)
    assert abs(found.abs().mean().item() - 1) < 1e-4
    centred = [
        (reward - sum(group) / 8) * min(max(sum(group) / 2, 0.5), 1.0) for group in grouped(batch) for reward in group
    ]
    size = sum(map(abs, centred)) / ROWS
    near(found, [value / size for value in centred])


@pytest.mark.parametrize(("runs", "wanted"), [(9, 0.015), (3, 0.05)])
def test_how_wide_the_interval_is_with_the_spread_that_was_measured(runs, wanted):
    """t with n - 1; the paired deviation of single runs is 0.02."""
    stats = pytest.importorskip("scipy.stats")
    assert round(stats.t.ppf(0.975, runs - 1) * 0.02 / math.sqrt(runs), 3) == wanted
