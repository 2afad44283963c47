"""The named checks: every cheat is refused by the check that should, and no honest mixer is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from asi_evolve import domains

torch = pytest.importorskip("torch")

sys.path[:0] = [str(Path(domains.__file__).parent / "linear_attention"), str(Path(__file__).parent)]
from checks.causality import check_causality  # noqa: E402
from checks.every_check import check_trained, run_checks  # noqa: E402
from checks.finding import Failed, Finding  # noqa: E402
from checks.subject import Subject  # noqa: E402
from checks.tampering import WATCHED, check_tampering, watch  # noqa: E402
from programs import BASELINE, HERE, program  # noqa: E402
from torch import nn  # noqa: E402

WIDTH, HEADS = 32, 2

# What each cheat is refused by. What passes is caught by the audit of the evaluator, in another process.
CHEATS = {
    "batch_mean": "batch",
    "batch_neighbour": "batch",
    "batch_norm_in_training": "batch",
    "bloat_behind_first_layer": "parameters",
    "dead_memory": "memory",
    "detached_memory": "memory",
    "endless": "speed",
    "forged_loss_at_import": "tampering",
    "forged_loss_in_training": None,
    "forged_report": None,
    "future_argmax": "causality",
    "future_at_large_inputs": "causality",
    "future_at_one_length": "causality",
    "future_at_small_inputs": "causality",
    "future_behind_zero_gate": "causality",
    "future_by_numpy": "causality",
    "future_detached": "causality",
    "future_in_large_batches": "causality",
    "future_in_training": "causality",
    "future_of_one_position": "causality",
    "future_past_512": "causality",
    "future_past_block": "causality",
    "future_shift": "causality",
    "future_under_noise": "replay",
    "growing_window": "cost",
    "long_convolution": "cost",
    "lying_tensor": "shape",
    "parameter_bloat": "parameters",
    "patched_arrays": "tampering",
    "patched_comparisons": "tampering",
    "quadratic_behind_first_layer": "cost",
    "quadratic_by_numpy": ("cost", "flagged"),
    "quadratic_elementwise": "cost",
    "quadratic_flash": "cost",
    "quadratic_sdpa": "cost",
    "replay_answers": "replay",
    "replay_future": "replay",
    "replay_in_class": "replay",
    "sleeping": "speed",
    "slow": "speed",
    "sorting_over_time": "causality",
    "statistics_over_time": "causality",
    "token_loop": ("structure", "flagged"),
    "window_only": "memory",
}
TAKE_LONGER = {"growing_window", "slow", "token_loop"}

# What is said about honest oddities, beside that they pass.
HONEST = {
    "bf16_only": ("precision", "bf16 autocast"),
    "fading_gate": ("memory", "fades within"),
    "moving_average": ("replay", "moving averages"),
    "step_counter": ("replay", "a step counter?"),
    "two_tokens": ("lengths", "at least two tokens"),
    "unseeded_dropout": ("replay", "earlier calls"),
    "unseeded_dropout_beside_growing_sums": ("replay", "earlier calls"),
    "unused_parameters": ("unused", "mixer.idle.weight"),
    "zero_output": ("causality", "nothing to compare"),
}


def names(folder: str) -> list[str]:
    return sorted(path.stem for path in (HERE / folder).glob("*.py"))


def findings_of(make, **options) -> dict[str, Finding]:
    found = run_checks(make, width=WIDTH, heads=HEADS, seed=0, reference=BASELINE, layers=2, **options)
    assert len({finding.check for finding in found}) == len(found)
    return {finding.check: finding for finding in found}


def refused(found: dict[str, Finding]) -> list[str]:
    return [finding.check for finding in found.values() if finding.verdict == "refused"]


@pytest.fixture
def torch_is_put_back():
    """Candidates that patch torch on import do so in this process."""
    watched = [*WATCHED, (torch.testing, "assert_close")]
    before = [(owner, name, vars(owner).get(name)) for owner, name in watched]
    yield
    for owner, name, was in before:
        if was is not None:
            setattr(owner, name, was)
        elif name in vars(owner):
            delattr(owner, name)  # it was inherited


def test_deltanet_passes_every_check():
    found = findings_of(BASELINE)
    assert {finding.verdict for finding in found.values()} == {"passed"}
    order = "constructor signature shape precision speed tampering parameters lengths finite unused batch causality"
    assert list(found) == f"{order} replay memory cost structure".split()
    assert found["causality"].value < 3e-7
    assert found["cost"].value == pytest.approx(1.0, abs=0.02)


def test_every_cheat_has_a_line():
    assert names("cheats") == sorted(CHEATS)


@pytest.mark.usefixtures("torch_is_put_back")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in TAKE_LONGER else []) for name in CHEATS]
)
def test_a_cheat_is_refused_by_the_check_that_should(name):
    found = findings_of(program(f"cheats/{name}"), cpu_seconds=6 if name == "endless" else 40)
    expected = CHEATS[name]
    if expected is None:
        assert refused(found) == []
    elif isinstance(expected, tuple):
        check, verdict = expected
        assert refused(found) == [] and found[check].verdict == verdict
    else:
        assert refused(found) == [expected]
        assert found[expected].sentence.startswith("Expected ")


@pytest.mark.parametrize("name", names("honest"))
def test_no_honest_mixer_is_refused(name, capsys):
    found = findings_of(program(f"honest/{name}"))
    assert refused(found) == []
    assert "structure" in found, "the checks went through to the last"
    if name in HONEST:
        check, words = HONEST[name]
        assert words in found[check].sentence
    capsys.readouterr()


def test_a_refusal_of_another_layer_names_it():
    cost = findings_of(program("cheats/quadratic_behind_first_layer"))["cost"]
    assert 1.7 < cost.value < 2.0 and "This is layer 1" in cost.sentence


def test_softmax_attention_is_refused_with_the_measured_exponent():
    cost = findings_of(program("references/softmax"))["cost"]
    assert cost.verdict == "refused" and 1.7 < cost.value < 2.0
    assert f"length^{cost.value:.2f}" in cost.sentence


def test_functions_methods_and_code_of_the_domain_are_watched(monkeypatch):
    from skeleton import checkpoint
    from tasks import questions
    from training.report import Report

    watch(Path(checkpoint.__file__).parent.parent)
    try:
        assert check_tampering().verdict == "passed"
        for owner, name, what in (
            (questions, "of_task", "tasks.questions.of_task"),
            (checkpoint, "LanguageModel", "skeleton.checkpoint.LanguageModel"),
            (Report, "refuse", "Report.refuse"),
            (checkpoint.answer, "__code__", "skeleton.checkpoint.answer"),
        ):
            with monkeypatch.context() as patched:
                patched.setattr(owner, name, raises_at_33.__code__ if name == "__code__" else print)
                with pytest.raises(Failed, match=f"Expected {what} to be left as it is"):
                    check_tampering()
        assert check_tampering().verdict == "passed"
    finally:
        watch(Path("/nowhere"))


class Answers(nn.Module):
    """Answers as it is told; for faults that need no file."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.answer = answer

    def forward(self, x):
        return self.answer(self.linear(x))


def fault(answer):
    return lambda hidden_size, num_heads, layer_idx: Answers(answer)


def raises_at_33(x):
    if x.shape[1] == 33:
        raise ValueError("chunks of 32")
    return x


@pytest.mark.parametrize(
    ("answer", "check", "words"),
    [
        (lambda x: x / 0 * 0, "finite", "some at length 7 are not"),
        (lambda x: x.abs().sqrt() * (x * 0).sqrt(), "finite", "the gradient of linear.weight"),
        (lambda x: x[:, :-1], "shape", "(2, 64, 32)"),
        (lambda x: x.detach().numpy(), "shape", "ndarray"),
        (raises_at_33, "lengths", "ValueError: chunks of 32"),
        (lambda x: sys.exit(0), "shape", "SystemExit: 0"),
    ],
)
def test_a_fault_is_named_by_its_check(answer, check, words):
    found = findings_of(fault(answer))
    assert refused(found) == [check] and words in found[check].sentence


def test_a_constructor_that_raises_is_refused_with_its_words():
    def make(hidden_size, num_heads, layer_idx):
        raise RuntimeError("no such kernel")

    found = findings_of(make)
    assert list(found) == ["constructor"] and "RuntimeError: no such kernel" in found["constructor"].sentence


def test_all_goes_on_behind_a_refusal():
    found = findings_of(program("cheats/batch_mean"), all=True)
    assert refused(found) == ["batch"] and "structure" in found


def test_a_length_that_only_training_has_is_looked_at_when_it_is_named():
    def ahead_at_96(x):
        return x + x.roll(-1, dims=1) if x.shape == (8, 96, WIDTH) else x

    assert "causality" not in refused(findings_of(fault(ahead_at_96)))
    assert refused(findings_of(fault(ahead_at_96), shapes=[(8, 96)])) == ["causality"]


def test_a_leak_that_training_opens_is_found_in_the_trained_mixer():
    class Opens(nn.Module):
        """Looks ahead once its counter says that it has been trained."""

        def __init__(self, *arguments) -> None:
            super().__init__()
            self.linear = nn.Linear(WIDTH, WIDTH)
            self.steps = 0

        def forward(self, x):
            self.steps += self.training
            return self.linear(x + 0.1 * x.roll(-1, dims=1) if self.steps > 100 else x)

    trained = [Opens(), Opens()]
    for _ in range(101):
        trained[1](torch.zeros(1, 2, WIDTH))
    first, second = check_trained(Opens, trained, width=WIDTH, heads=HEADS, seed=0, precision="fp32")
    assert (first.verdict, second.verdict) == ("passed", "refused")
    assert second.sentence.startswith("Layer 1, trained: Expected ")


def test_findings_do_not_depend_on_what_was_drawn_before():
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(check_causality(Subject(program("honest/fft_convolution"), WIDTH, HEADS, 0)))
    assert found[0] == found[1] and found[0].value > 0
