"""Which campaigns are replicates of one arm, and how arms are told apart."""

import pytest
from asi_evolve.evolution.arms import arms
from asi_evolve.evolution.errors import BadInput
from asi_evolve.evolution.models import Budget, Campaign, CampaignSettings, SamplingOptions


def campaign(number, *, domain="d", version="1", instance=None, name="n", **settings):
    return Campaign(
        id=number,
        name=name,
        goal="",
        program=None,
        domain=domain,
        domain_name=domain,
        domain_version=version,
        instance=instance,
        settings=CampaignSettings(**settings),
        samples_drawn=0,
        cpu_seconds=0,
        gpu_seconds=0,
        created_at=0,
    )


def grouped(*campaigns):
    return {arm.label: [entry.id for entry in arm.campaigns] for arm in arms(campaigns)}


def test_campaigns_that_differ_in_seed_name_and_bounds_are_replicates():
    found = grouped(campaign(1), campaign(2, seed=7, name="again"), campaign(3, budget=Budget(experiments=5)))
    assert found == {"ucb1": [1, 2, 3]}


def test_a_campaign_that_is_named_twice_counts_once():
    assert grouped(campaign(1), campaign(1)) == {"ucb1": [1]}


def test_arms_are_labelled_by_what_differs():
    assert grouped(campaign(1), campaign(2, cognition=False)) == {"cognition on": [1], "cognition off": [2]}
    assert grouped(campaign(1), campaign(2, cognition=False), campaign(3, lessons=False)) == {
        "cognition on, lessons on": [1],
        "cognition off": [2],
        "lessons off": [3],
    }
    assert grouped(campaign(1), campaign(2, sampler="greedy"), campaign(3, cognition=False)) == {
        "ucb1": [1],
        "greedy": [2],
        "ucb1, cognition off": [3],
    }


def test_settings_of_the_sampling_are_told_apart_by_their_names():
    options = SamplingOptions(parent_pool=10)
    assert grouped(campaign(1), campaign(2, sampling=options), campaign(3, seeds=3)) == {
        "seeds 1, parent pool unset": [1],
        "parent pool 10": [2],
        "seeds 3": [3],
    }


@pytest.mark.parametrize(
    ("other", "said"),
    [({"domain": "e"}, "one domain"), ({"version": "2"}, "one version"), ({"instance": "n32"}, "one instance")],
)
def test_scores_that_do_not_compare_are_refused(other, said):
    with pytest.raises(BadInput, match=said) as caught:
        arms([campaign(1), campaign(2, **other)])
    assert "c1 has" in str(caught.value)
    assert "c2 has" in str(caught.value)
