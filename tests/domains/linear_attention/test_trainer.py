"""The trainer: what a step is, what two runs have in common, what ends one, and how it goes on."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from asi_evolve import domains
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
FOLDER = Path(domains.__file__).parent / "linear_attention"
HERE = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(HERE)]

from small_model import SmallModel, sometimes_asked  # noqa: E402
from training import launch, trainer  # noqa: E402
from training.trainer import Diverged, NoDevice, Plan, learning_rate_at, train  # noqa: E402

PLAN = Plan(steps=12, batch=8, learning_rate=1e-2, warmup=3)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


# ---- the schedule ----


@settings(max_examples=200)
@given(st.integers(1, 3000), st.data())
def test_the_rate_is_the_documented_formula(steps, data):
    warmup = data.draw(st.integers(0, steps))
    step = data.draw(st.integers(1, steps))
    peak, share = data.draw(st.floats(1e-6, 1.0)), data.draw(st.floats(0.0, 1.0))
    plan = Plan(steps=steps, batch=1, warmup=warmup, learning_rate=peak, final_share=share)
    if step <= warmup:
        expected = peak * step / warmup
    else:
        final = peak * share
        expected = final + (peak - final) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
    assert learning_rate_at(step, plan) == pytest.approx(expected, rel=1e-12)
    assert 0 < learning_rate_at(step, plan) <= peak * (1 + 1e-12) or share == 0.0
    if warmup >= 1:
        assert learning_rate_at(warmup, plan) == pytest.approx(peak)
    if warmup < steps:
        assert learning_rate_at(steps, plan) == pytest.approx(peak * share, abs=1e-12)


def test_the_rates_rise_to_the_peak_and_fall_to_the_end():
    plan = Plan(steps=100, batch=1, warmup=10, learning_rate=1.0, final_share=0.1)
    rates = [learning_rate_at(step, plan) for step in range(1, 101)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert (rates[0], rates[9], rates[99]) == pytest.approx((0.1, 1.0, 0.1))


def test_only_matrices_decay():
    model = SmallModel()
    decayed, others = trainer.optimizer_of(model, PLAN, torch.device("cpu")).param_groups
    assert {id(parameter) for parameter in decayed["params"]} == {
        id(layer.weight) for layer in (model.embedding, model.mixed, model.head)
    }
    assert {id(parameter) for parameter in others["params"]} == {
        id(model.mixed.bias),
        id(model.norm.weight),
        id(model.unused),
    }
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


# ---- a step ----


def test_the_loss_is_the_mean_over_asked_targets_and_the_auxiliary_loss_joins_the_gradient_alone():
    model, steps = SmallModel(auxiliary=0.5), []
    tokens, targets = sometimes_asked(1)
    expected = torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten()).item()
    auxiliary = model.auxiliary_loss().item()
    (
        torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten()) + model.auxiliary_loss()
    ).backward()
    norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm().item()
    train(SmallModel(auxiliary=0.5), sometimes_asked, PLAN, on_step=steps.append)
    assert steps[0].loss == pytest.approx(expected, rel=1e-5)
    assert steps[0].auxiliary_loss == pytest.approx(auxiliary, rel=1e-5)
    assert steps[0].gradient_norm == pytest.approx(norm, rel=1e-4)
    assert [step.step for step in steps] == list(range(1, 13))
    assert [step.tokens for step in steps] == [8 * 12 * number for number in range(1, 13)]


def test_the_gradient_is_clipped_to_the_bound():
    """One step of plain descent tells the gradient that arrived."""
    seen = []

    class Watch(torch.optim.SGD):
        def step(self, closure=None):
            gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None]
            seen.append(torch.cat(gradients).norm().item())

    plan = replace(PLAN, steps=2, warmup=0, clip=0.01)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainer, "optimizer_of", lambda model, plan, device: Watch(model.parameters(), lr=0.0))
        train(SmallModel(), sometimes_asked, plan)
    assert seen == pytest.approx([0.01, 0.01], rel=1e-3)


@pytest.mark.parametrize("part", [1, 3, 4])
def test_parts_add_up_to_the_whole_batch(part):
    """Rows ask different numbers of targets, and three do not divide eight."""
    whole, parts = SmallModel(auxiliary=0.0), SmallModel(auxiliary=0.0)
    at_once = train(whole, sometimes_asked, PLAN)
    in_parts = train(parts, sometimes_asked, replace(PLAN, part=part))
    assert in_parts.losses == pytest.approx(at_once.losses, abs=1e-5)
    assert torch.allclose(weights(whole), weights(parts), atol=1e-4)


def test_a_model_learns_what_can_be_learned():
    plan = Plan(steps=150, batch=8, learning_rate=2e-2, warmup=10)
    trained = train(SmallModel(), lambda step: (sometimes_asked(step)[0], sometimes_asked(step)[0]), plan)
    assert trained.losses[-1] < 0.1 < 2.0 < trained.losses[0]
    assert trained.tokens == 150 * 96
    assert trained.tokens_per_second is not None
    assert trained.tokens_per_second > 0


# ---- the same again ----


def test_the_same_seed_gives_the_same_losses_and_another_does_not():
    losses = [train(SmallModel(dropout=0.3), sometimes_asked, replace(PLAN, seed=seed)).losses for seed in (1, 1, 2)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(tmp_path):
    plan = replace(PLAN, steps=20, save_every=7)
    whole = SmallModel(dropout=0.3, auxiliary=0.1)
    expected = train(whole, sometimes_asked, plan)

    def dies(step):
        if step.step == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SmallModel(dropout=0.3, auxiliary=0.1), sometimes_asked, plan, on_step=dies, state=tmp_path / "state.pt")
    resumed, steps, shares = SmallModel(dropout=0.3, auxiliary=0.1, seed=99), [], []
    found = train(
        resumed,
        sometimes_asked,
        plan,
        state=tmp_path / "state.pt",
        on_step=steps.append,
        on_checkpoint=lambda share, step, model: shares.append((share, step)),
    )
    assert found.resumed_at == 14
    assert steps[0].step == 15
    assert found.losses == expected.losses
    assert (found.tokens, shares) == (expected.tokens, [(0.75, 15), (1.0, 20)])
    assert torch.equal(weights(resumed), weights(whole))
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_the_state_of_another_plan_is_refused(tmp_path):
    train(SmallModel(), sometimes_asked, replace(PLAN, save_every=6), state=tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"Expected the state of this plan .* Remove the file"):
        train(SmallModel(), sometimes_asked, replace(PLAN, steps=30), state=tmp_path / "state.pt")


def test_checkpoints_come_after_their_share_of_the_steps_even_where_two_fall_on_one():
    seen = []
    for steps in (11, 2):
        plan = replace(PLAN, steps=steps, warmup=1)
        train(SmallModel(), sometimes_asked, plan, on_checkpoint=lambda share, step, model: seen.append((share, step)))
    assert seen == [(0.5, 6), (0.75, 9), (1.0, 11), (0.5, 1), (0.75, 2), (1.0, 2)]


# ---- what ends a run ----


class NotFinite(SmallModel):
    """From a step on, its loss or only its gradient is not finite."""

    def __init__(self, what, at):
        super().__init__()
        self.what, self.left = what, at

    def forward(self, tokens):
        self.left -= 1
        logits = super().forward(tokens)
        if self.left > 0:
            return logits
        if self.what == "loss":
            return logits * float("nan")
        return logits + (self.norm.weight.sum() * 0).sqrt()  # 0, with the gradient 0 * inf


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_the_first_number_that_is_not_finite_ends_the_run_at_its_step(what):
    model, steps = NotFinite(what, at=5), []
    with pytest.raises(Diverged, match=rf"Expected a finite {what}, but got nan at step 5") as raised:
        train(model, sometimes_asked, PLAN, on_step=steps.append)
    assert (raised.value.step, raised.value.what, len(steps)) == (5, what, 4)
    assert torch.isfinite(weights(model)).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_stage_for_a_gpu_says_that_there_is_none():
    with pytest.raises(
        NoDevice, match=r"Expected a CUDA GPU .* but got none .* Run this stage on a machine with a GPU"
    ):
        train(SmallModel(), sometimes_asked, replace(PLAN, device="cuda"))
    with pytest.raises(NoDevice, match="cpu or cuda"):
        trainer.place_for("mps")


def test_batches_that_do_not_fit_the_plan_are_refused():
    with pytest.raises(ValueError, match=r"Expected tokens and targets \(9 / 1 processes, length\)"):
        train(SmallModel(), sometimes_asked, replace(PLAN, batch=9))
    with pytest.raises(ValueError, match="at least one target that is asked"):
        train(SmallModel(), lambda step: (sometimes_asked(step)[0], torch.full((8, 12), -100)), PLAN)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"steps": 0}, "steps"), ({"warmup": 13}, "warm-up"), ({"checkpoints": (0.0,)}, "checkpoints")],
)
def test_a_plan_that_cannot_be_is_refused(change, words):
    with pytest.raises(ValueError, match=f"Expected .*{words}"):
        replace(PLAN, **change)


# ---- what runs on GPUs ----


def test_the_path_of_a_gpu_runs_on_a_cpu_under_bfloat16_in_parts(tmp_path):
    """All of it but the device: autocast, parts, saved states, the precision that is reported."""
    model = SmallModel(auxiliary=0.1)
    plan = replace(PLAN, steps=40, precision="bf16", part=2, save_every=20)
    trained = train(model, sometimes_asked, plan, state=tmp_path / "state.pt")
    plain = train(SmallModel(auxiliary=0.1), sometimes_asked, replace(plan, precision="fp32"))
    assert trained.precision == "bf16"
    assert weights(model).dtype == torch.float32
    assert trained.losses != plain.losses
    assert trained.losses == pytest.approx(plain.losses, abs=0.1)
    assert trainer.precision_of(PLAN, torch.device("cuda")) == "bf16"
    assert trainer.precision_of(PLAN, torch.device("cpu")) == "fp32"


TOGETHER = """
import json, sys
sys.path[:0] = [{folder!r}, {here!r}]
from training import launch
if not launch.is_worker():
    sys.exit(launch.start(__file__, [], 2))
import torch
from small_model import SmallModel, sometimes_asked
from training.trainer import Plan, leave, place_for, train
place = place_for("cpu")
model = SmallModel(auxiliary=0.5, seed=place.rank)
mine = slice(place.rank * 4, place.rank * 4 + 4)
steps = []
trained = train(
    model,
    lambda step: tuple(array[mine] for array in sometimes_asked(step)),
    Plan(steps=12, batch=8, learning_rate=1e-2, warmup=3, part=2),
    place=place,
    on_step=steps.append,
)
leave()
if place.is_first:
    print(json.dumps([trained.losses, [step.auxiliary_loss for step in steps], trained.tokens,
                      torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()]))
else:
    assert not steps
"""


@pytest.mark.slow
def test_two_processes_train_what_one_trains_with_the_whole_batch(tmp_path):
    """Their halves ask different numbers of targets, and they start with different weights: the first one's count."""
    program = tmp_path / "together.py"
    program.write_text(TOGETHER.format(folder=str(FOLDER), here=str(HERE)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    losses, auxiliary, tokens, found = json.loads(done.stdout)
    model, steps = SmallModel(auxiliary=0.5), []
    trained = train(model, sometimes_asked, replace(PLAN, part=2), on_step=steps.append)
    assert losses == pytest.approx(trained.losses, abs=1e-5)
    assert auxiliary == pytest.approx([step.auxiliary_loss for step in steps], abs=1e-5)
    assert tokens == trained.tokens
    assert torch.allclose(torch.tensor(found), weights(model), atol=1e-4)
    assert not launch.is_worker()
