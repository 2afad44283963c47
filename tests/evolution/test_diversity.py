"""Diverse hits: relevance alone at 0, unlike ones first as it grows, and never a hit twice."""

import pytest
from asi_evolve.evolution.diversity import jaccard, maximal_marginal_relevance
from asi_evolve.evolution.rank_fusion import reciprocal_rank_fusion
from hypothesis import given
from hypothesis import strategies as st

shares = st.floats(0, 1).map(lambda share: round(share, 2))


@st.composite
def candidates(draw):
    count = draw(st.integers(0, 8))
    likeness = {(a, b): draw(shares) for a in range(count) for b in range(a)}
    return draw(st.lists(shares, min_size=count, max_size=count)), likeness


def similarity(likeness):
    return lambda a, b: likeness[max(a, b), min(a, b)]


def objective(relevance, likeness, diversity, chosen, at):
    """Carbonell and Goldstein's marginal relevance of one candidate, written down as in the paper."""
    if not chosen:
        return relevance[at]
    nearest = max(similarity(likeness)(at, other) for other in chosen)
    return (1 - diversity) * relevance[at] - diversity * nearest


@given(candidates(), shares, st.integers(0, 10))
def test_each_choice_is_the_best_that_was_left(drawn, diversity, limit):
    relevance, likeness = drawn
    chosen = maximal_marginal_relevance(relevance, similarity(likeness), diversity, limit)
    assert len(chosen) == len(set(chosen)) == min(limit, len(relevance))
    for step, at in enumerate(chosen):
        left = set(range(len(relevance))) - set(chosen[:step])
        values = {other: objective(relevance, likeness, diversity, chosen[:step], other) for other in left}
        assert values[at] == pytest.approx(max(values.values()), abs=1e-12)


@given(candidates(), st.integers(0, 10))
def test_without_diversity_it_is_the_order_of_relevance(drawn, limit):
    relevance, likeness = drawn
    order = sorted(range(len(relevance)), key=lambda at: (-relevance[at], at))
    assert maximal_marginal_relevance(relevance, similarity(likeness), 0.0, limit) == order[:limit]


def test_copies_of_the_best_give_way_to_something_else():
    topic = [0, 0, 0, 1, 2]
    same_topic = lambda a, b: 1.0 if topic[a] == topic[b] else 0.0  # noqa: E731
    relevance = [0.9, 0.89, 0.88, 0.5, 0.4]
    assert maximal_marginal_relevance(relevance, same_topic, 0.5, 3) == [0, 3, 4]
    assert maximal_marginal_relevance(relevance, same_topic, 1.0, 3)[0] == 0


@given(st.frozensets(st.sampled_from("abcdef")), st.frozensets(st.sampled_from("abcdef")))
def test_texts_are_alike_by_the_words_they_share(some, others):
    assert jaccard(some, others) == jaccard(others, some)
    assert (jaccard(some, others) == 1.0) == (some == others)
    assert (jaccard(some, others) == 0.0) == (not some & others and bool(some | others))


def test_half_of_the_words_shared_is_a_half():
    assert jaccard(frozenset("abc"), frozenset("bcd")) == 0.5


rankings = st.lists(st.lists(st.integers(1, 12), unique=True), max_size=4)


@given(rankings)
def test_fusion_ranks_every_item_once_by_the_sum_of_its_reciprocal_ranks(given_rankings):
    fused = reciprocal_rank_fusion(given_rankings)
    assert sorted(item for item, _ in fused) == sorted({item for ranking in given_rankings for item in ranking})
    for item, score in fused:
        assert score == pytest.approx(sum(1 / (61 + r.index(item)) for r in given_rankings if item in r))
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)


@given(st.lists(st.integers(1, 12), unique=True))
def test_one_ranking_or_the_same_twice_keeps_its_order(ranking):
    for several in ([ranking], [ranking, ranking]):
        assert [item for item, _ in reciprocal_rank_fusion(several)] == ranking


def test_what_two_rankings_agree_on_beats_what_one_has_first():
    assert [item for item, _ in reciprocal_rank_fusion([[1, 2], [3, 2]])] == [2, 1, 3]
