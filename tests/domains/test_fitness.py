"""Fitness relative to the baseline, alarms and controls in `domain.toml`: what is refused, and by which key."""

import shutil
from pathlib import Path

import pytest
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.errors import DomainError
from asi_evolve.evolution.relative import Statistic

RIVAL_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "rival"
TERM = '[fitness.relative.terms.loss]\ndirection = "minimize"\nmin_sd = 0.05\n'
GAIN = '[fitness.relative]\nform = "gain"\n\n'
BASELINE_STOP = '[[stop]]\nrule = "above_baseline"\nmetric = "loss"\nat = 0.25\nk = 3\nmin_sd = 0.1\n'


@pytest.fixture
def changed(tmp_path):
    """A way to load the rival domain with a change of its domain.toml."""

    def load(old="", new=""):
        folder = Path(shutil.copytree(RIVAL_DOMAIN, tmp_path / "rival"))
        text = (folder / "domain.toml").read_text()
        assert old in text
        (folder / "domain.toml").write_text(text.replace(old, new) if old else new + text)
        return load_domain(folder).spec

    return load


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (TERM, TERM.replace("terms.loss", "terms.speed"), "fitness.relative.terms.speed: expected one of"),
        (TERM, TERM.replace("terms.loss", "terms.score"), "expected other metrics than 'score'"),
        (TERM, TERM + 'stages = ["check"]\n', "fitness.relative.terms.loss.stages: expected stages with"),
        (TERM, TERM + 'stages = ["deep"]\n', "expected one that counts at stage 'explore'"),
        (TERM, TERM + "weight = 0\n", "fitness.relative.terms.loss.weight:"),
        (TERM, TERM.replace("0.05", "0"), "fitness.relative.terms.loss.min_sd:"),
        (TERM, TERM.replace("0.05", "inf"), "fitness.relative.terms.loss.min_sd:"),
        (TERM, TERM + "scale = -1\n", "fitness.relative.terms.loss.scale:"),
        (TERM, "", "fitness.relative.terms:"),
        ("min_sd = 0.05\n", "", "fitness.relative: terms.loss.min_sd: expected one with form = 'sigmoid'"),
        (TERM, GAIN + TERM, "fitness.relative: terms.loss.min_sd: expected none with form = 'gain'"),
        (TERM, GAIN + TERM.replace("min_sd = 0.05", "scale = 2.0"), "terms.loss.scale: expected none with form"),
        (TERM, GAIN.replace("gain", "ratio") + TERM, "fitness.relative.form:"),
        ("above = 2.0", "above = 0", "fitness.relative.penalties.cost.above:"),
        ("penalties.cost]", "penalties.price]", "fitness.relative.penalties.price: expected one of"),
        ('metric = "score"', 'metric = "score"\ndirection = "minimize"', "expected 'maximize' beside"),
        ("baseline_seeds = ", "gpus = 0 #", "expected a stage with `baseline_seeds`"),
        ("baseline_seeds = 3", "baseline_seeds = 65", "stages.1.baseline_seeds:"),
        ("[[artifacts]]", '[[quarantine.alarms]]\nmetric = "speed"\ndirection = "maximize"\n\n[[artifacts]]',
         "quarantine.alarms.0.metric: expected one of"),
        ("[[artifacts]]", '[[quarantine.alarms]]\nmetric = "loss"\n\n[[artifacts]]', "quarantine.alarms.0.direction:"),
        ("[[artifacts]]", f"{BASELINE_STOP.replace('above_baseline', 'above')}control = 'x'\n[[artifacts]]", "stop.0"),
        ("[[artifacts]]", '[[stop]]\nrule = "nan"\ncontrol = "x"\n[[artifacts]]', "expected no `control`"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(changed, old, new, said):
    with pytest.raises(DomainError, match=r"domain\.toml") as raised:
        changed(old, new)
    assert said in str(raised.value)


def test_stages_ask_for_a_baseline_only_where_something_is_relative_to_it(changed):
    relative = TERM + "\n[fitness.relative.penalties.cost]\nabove = 2.0\nweight = 0.1\n"
    with pytest.raises(DomainError, match=r"stages.explore.baseline_seeds: expected \[fitness.relative\] beside it"):
        changed(relative, "")


def test_terms_count_where_they_are_said_to(changed):
    other = '\n[fitness.relative.terms.cost]\ndirection = "minimize"\nmin_sd = 1\nstages = ["deep"]\n'
    relative = changed(TERM, TERM + other).fitness.relative
    assert relative.yardstick("explore").metrics == ["loss", "cost"], "cost as a penalty"
    assert [term.metric for term in relative.yardstick("explore").terms] == ["loss"]
    assert [term.metric for term in relative.yardstick("deep").terms] == ["loss", "cost"]


def test_gains_need_no_deviation_and_start_from_0(changed):
    relative = changed(TERM, GAIN + TERM.replace("min_sd = 0.05\n", "")).fitness.relative
    assert (relative.baseline_scores, relative.yardstick("explore").form) == (0.0, "gain")
    assert relative.yardstick("explore").score({"loss": 0.75, "cost": 1.0}, {"loss": Statistic(1.0, 0.1, {})}) == 0.25


def test_without_a_form_it_is_the_sigmoid(changed):
    relative = changed(TERM, TERM).fitness.relative
    assert (relative.baseline_scores, relative.yardstick("explore").form) == (0.5, "sigmoid")


def test_a_control_goes_with_rules_that_compare_with_the_baseline(changed):
    (rule,) = changed("[[artifacts]]", f'{BASELINE_STOP}control = "without/loss"\n\n[[artifacts]]').stop
    assert (rule.control, rule.resolved().control) == ("without/loss", "without/loss")
