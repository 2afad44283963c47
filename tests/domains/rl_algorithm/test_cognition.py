"""What a campaign on RL algorithms knows from the start: each item can be used, has a source, and is found."""

import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import asi_evolve
import pytest
import yaml
from asi_evolve.database import cognition
from asi_evolve.database.search.embedders import weights
from asi_evolve.database.search.embedders.choice import EmbedderOptions, make_embedder
from asi_evolve.database.workspace import open_workspace
from asi_evolve.domains.cognition_file import read_items
from asi_evolve.domains.loader import MAX_TEXT_BYTES
from asi_evolve.evolution.errors import EmbedderUnavailable
from asi_evolve.evolution.models import CognitionOrigin
from asi_evolve.evolution.resemblance import Reading, compared, words
from asi_evolve.tools.recall import DIVERSITY, THRESHOLD

FILE = Path(asi_evolve.__file__).parent / "domains" / "rl_algorithm" / "cognition.yaml"
QUESTIONS = Path(__file__).with_name("cognition_questions.yaml")
PARTS = ("Mechanism", "How", "Cost", "Evidence", "Pitfalls")
SNIPPET = re.compile(r"```python\n.*?```", re.DOTALL)
LOOKED_UP = {
    "arxiv:1412.6980": "Adam: A Method for Stochastic Optimization",
    "arxiv:1602.01783": "Asynchronous Methods for Deep Reinforcement Learning",
    "arxiv:1707.06347": "Proximal Policy Optimization Algorithms",
    "arxiv:1802.01561": "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures",
    "arxiv:1912.09729": "Mastering Complex Control in MOBA Games with Deep Reinforcement Learning",
    "arxiv:2402.03300": "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models",
    "arxiv:2402.14740": "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback",
    "arxiv:2501.03262": "REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global Advantage Normalization",
    "arxiv:2503.14476": "DAPO: An Open-Source LLM Reinforcement Learning System at Scale",
    "arxiv:2503.20783": "Understanding R1-Zero-Like Training: A Critical Perspective",
    "arxiv:2504.05118": "VAPO: Efficient and Reliable Reinforcement Learning for Advanced Reasoning Tasks",
    "arxiv:2504.07086": "A Sober Look at Progress in Language Model Reasoning: Pitfalls and Paths to Reproducibility",
    "arxiv:2505.22617": "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models",
    "arxiv:2505.23585": "On-Policy RL with Optimal Reward Baseline",
    "arxiv:2506.01347": "The Surprising Effectiveness of Negative Reinforcement in LLM Reasoning",
    "arxiv:2506.13585": "MiniMax-M1: Scaling Test-Time Compute Efficiently with Lightning Attention",
    "arxiv:2506.20520": "Asymmetric REINFORCE for off-Policy Reinforcement Learning",
    "arxiv:2507.18071": "Group Sequence Policy Optimization",
    "arxiv:2507.20673": "Geometric-Mean Policy Optimization",
    "arxiv:2508.08221": "Part I: Tricks or Traps? A Deep Dive into RL for LLM Reasoning",
    "arxiv:2510.00915": "Reinforcement Learning with Verifiable yet Noisy Rewards under Imperfect Verifiers",
    "arxiv:2510.01555": "Rethinking KL Regularization in RLHF: From Value Estimation to Gradient Optimization",
    "arxiv:2510.13786": "The Art of Scaling Reinforcement Learning Compute for LLMs",
    "arxiv:2603.29640": "ASI-Evolve: AI Accelerates AI",
}
"""Sources of the items; each id was looked up in public texts that give it this title."""


@pytest.fixture(scope="module")
def items():
    return read_items(FILE, MAX_TEXT_BYTES)


@pytest.fixture(scope="module")
def questions(items):
    sets = yaml.safe_load(QUESTIONS.read_text(encoding="utf-8"))
    titles = {item.title for item in items}
    assert not {target for asked in sets.values() for entry in asked for target in entry["targets"]} - titles
    return sets


def test_there_is_enough_of_it_and_the_loader_takes_it(items):
    assert 14 <= len(items) <= 24
    assert FILE.stat().st_size < MAX_TEXT_BYTES
    assert len({item.title for item in items}) == len(items)


def test_every_item_says_mechanism_implementation_cost_evidence_and_pitfalls(items):
    for item in items:
        parts = re.findall(rf"^({'|'.join(PARTS)}): (?=\S)", item.body, re.MULTILINE)
        assert tuple(parts) == PARTS, item.title
        assert 120 <= len(SNIPPET.sub("", item.body).split()) <= 250, item.title
        assert 2 <= len(item.tags) <= 6, item.title


def test_every_item_has_code_but_those_on_evaluation(items):
    for item in items:
        assert len(SNIPPET.findall(item.body)) == ("evaluation" not in item.tags), item.title


def test_evidence_says_what_was_measured_or_checked_and_where(items):
    told = re.compile(
        r"[Mm]easured (alone )?here|tested here|[Cc]hecked|[Aa]bstract|HTML|seen in|read there|stated in its paper"
    )
    for item in items:
        (evidence,) = re.findall(r"^Evidence: (.*?)^Pitfalls: ", item.body, re.MULTILINE | re.DOTALL)
        assert told.search(evidence), item.title


def test_every_source_was_looked_up(items):
    assert {source for item in items for source in item.knowledge.sources} == set(LOOKED_UP)


def test_symptoms_are_distinct_and_speak_of_what_is_measured_here(items):
    readings = [(item.title, frozenset(words(item.symptom))) for item in items]
    for (one, left), (other, right) in combinations(readings, 2):
        assert len(left & right) / len(left | right) < 0.4, (one, other)
    seen = re.compile(
        r"pass_at_1|gain_low|gain against|clip_fraction|length_drift|worst_|entropy|\b(kl|area|greedy|stress|seeds?)\b"
    )
    assert [item.title for item in items if not seen.search(item.symptom)] == []


def test_no_two_say_the_same_by_the_rules_of_the_store(items):
    readings = [Reading.of(item.knowledge) for item in items]
    alike = [
        (one.knowledge.title, other.knowledge.title, found.why)
        for one, other in combinations(readings, 2)
        if (found := compared(one, other)) is not None
    ]
    assert alike == []


def test_the_questions_are_not_made_of_the_symptoms(items, questions):
    symptoms = {item.title: frozenset(words(item.symptom)) for item in items}
    assert all(len(asked) >= 18 for asked in questions.values())
    for entry in [entry for asked in questions.values() for entry in asked]:
        asked = frozenset(words(entry["question"]))
        for target in entry["targets"]:
            shared = asked & symptoms[target]
            assert len(shared) <= 2 / 5 * len(symptoms[target]), (target, sorted(shared))


def test_every_item_is_asked_for(items, questions):
    wanted = {target for asked in questions.values() for entry in asked for target in entry["targets"]}
    assert wanted == {item.title for item in items}


async def found(path, items, questions, options):
    """For each question the titles of the five that `search_cognition` would show, best first, and the methods."""
    async with open_workspace(path, make_embedder(options)) as workspace:
        async with workspace.transaction() as tx:
            stored = [
                await cognition.add(tx, cognition.NewItem.of(item.knowledge, "rl_algorithm", CognitionOrigin.SEED))
                for item in items
            ]
        assert all(is_new for _, is_new in stored)
        titles = {number: item.title for (number, _), item in zip(stored, items, strict=True)}
        await workspace.documents.catch_up()
        answers = [
            await workspace.documents.find(
                entry["question"],
                "cognition",
                domain="rl_algorithm",
                limit=5,
                threshold=THRESHOLD,
                diversity=DIVERSITY,
            )
            for entry in questions
        ]
        methods = Counter(answer.method for answer in answers)
    return [[titles[hit.ref_id] for hit in answer.hits] for answer in answers], methods


async def hits(path, items, questions, options):
    """Set of questions to the share that has a right item among five, and the methods by which they were answered."""
    shares, methods = {}, Counter()
    for name, asked in questions.items():
        answers, used = await found(path / name, items, asked, options)
        right = [bool(set(answer) & set(entry["targets"])) for answer, entry in zip(answers, asked, strict=True)]
        shares[name], methods = sum(right) / len(right), methods + used
        missed = [entry["question"][:60] for entry, one in zip(asked, right, strict=True) if not one]
        print(f"{name}: hit@5 {shares[name]:.3f}, missed {missed}, {dict(used)}")
    return shares, methods


@pytest.mark.anyio
async def test_an_analysis_finds_its_items_by_words(tmp_path, items, questions):
    shares, methods = await hits(tmp_path, items, questions, EmbedderOptions("lexical"))
    assert set(methods) == {"lexical"}
    assert shares["first"] >= 0.85
    assert shares["fresh"] >= 0.85


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_analysis_finds_its_items_by_meaning(tmp_path, items, questions):
    places = weights.there()
    if not places:
        pytest.skip(f"needs the weights of all-MiniLM-L6-v2: {weights.REMEDY}")
    try:
        weights.check(places[0])
    except EmbedderUnavailable as error:
        pytest.skip(str(error))
    shares, methods = await hits(tmp_path, items, questions, EmbedderOptions("minilm"))
    assert [method.split("/")[0] for method in methods] == ["minilm"]
    assert shares["first"] >= 0.85
    assert shares["fresh"] >= 0.85
