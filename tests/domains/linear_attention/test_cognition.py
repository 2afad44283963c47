"""What a campaign on linear attention knows from the start: each item can be used, has a source, and is found."""

import os
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

FILE = Path(asi_evolve.__file__).parent / "domains" / "linear_attention" / "cognition.yaml"
QUESTIONS = Path(__file__).with_name("cognition_questions.yaml")
MATERIAL = os.environ.get("EVOLVE_TEST_MATERIAL")
PARTS = ("Mechanism", "How", "Cost", "Evidence", "Pitfalls")
ELSEWHERE = {
    "arxiv:2103.03098": "Accounting for Variance in Machine Learning Benchmarks",
    "arxiv:2210.10340": "The Devil in Linear Transformer",
    "arxiv:2304.15004": "Are Emergent Abilities of Large Language Models a Mirage?",
    "arxiv:2402.01032": "Repeat After Me: Transformers are Better than State Space Models at Copying",
    "arxiv:2403.17844": "Mechanistic Design and Scaling of Hybrid Architectures",
    "arxiv:2407.14207": "Longhorn: State Space Models are Amortized Online Learners",
    "arxiv:2502.13685": "MoM: Linear Sequence Modeling with Mixture-of-Memories",
    "arxiv:2503.14456": 'RWKV-7 "Goose" with Expressive Dynamic State Evolution',
    "arxiv:2510.26692": "Kimi Linear: An Expressive, Efficient Attention Architecture",
}
"""Sources that are not in the list of papers; each id was looked up in public texts that cite it with this title."""


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
    assert len(items) >= 60
    assert FILE.stat().st_size < MAX_TEXT_BYTES
    assert len({item.title for item in items}) == len(items)


def test_every_item_says_mechanism_implementation_cost_evidence_and_pitfalls(items):
    for item in items:
        parts = re.findall(rf"^({'|'.join(PARTS)}): (?=\S)", item.body, re.MULTILINE)
        assert tuple(parts) == PARTS, item.title
        assert 120 <= len(item.body.split()) <= 250, item.title
        assert item.symptom, item.title
        assert 2 <= len(item.tags) <= 6, item.title


def test_every_mechanism_has_an_equation_or_names_what_to_call_and_an_evaluation_item_a_metric(items):
    equation = re.compile(r"\w[\])}]? ?= ?[-\w(\[|]|<=|>=")
    call = re.compile(r"\b(chunk_\w+|ShortConvolution|FusedRMSNormGated|RMSNorm|l2norm|torch\.\w+|nn\.\w+|F\.\w+)\b")
    metric = re.compile(r"_loss|lm_bpb|cost_ratio|parameter_ratio|\b(recall|overwrite|bpb)\b|H d_k d_v")
    for item in items:
        body = " ".join(item.body.split())
        wanted = [metric] if "evaluation" in item.tags else [equation, call]
        assert any(pattern.search(body) for pattern in wanted), item.title
    assert sum("chunk_" in item.body for item in items) >= 30


def test_every_source_is_a_paper_of_the_list_or_one_that_was_looked_up(items):
    sources = {source for item in items for source in item.knowledge.sources}
    assert all(re.fullmatch(r"arxiv:\d{4}\.\d{5}", source) for source in sources)
    assert set(ELSEWHERE) <= sources
    if MATERIAL is None:
        pytest.skip("the list of papers is test material")
    lines = (Path(MATERIAL) / "reference" / "linear_attention_papers.tsv").read_text(encoding="utf-8").splitlines()
    listed = {f"arxiv:{line.split(chr(9))[0]}" for line in lines[1:]}
    assert len(listed) > 80
    assert sources - set(ELSEWHERE) <= listed
    assert not set(ELSEWHERE) & listed
    assert len(sources & listed) >= 60


def test_symptoms_are_distinct_and_speak_of_what_is_measured_here(items):
    readings = [(item.title, frozenset(words(item.symptom))) for item in items]
    for (one, left), (other, right) in combinations(readings, 2):
        assert len(left & right) / len(left | right) < 0.4, (one, other)
    seen = re.compile(
        r"_loss|_accuracy|_ratio|_exponent|lm_bpb|\b(recall|overwrite|mqar|selective_copying|NaN|twin_gap)\b|"
        r"\b(causality|batch|cost|structure|memory|lengths|finite|unused|replay|parameters)\b.*\b(check|refused|warn|flag)|"
        r"\b(check|refused|warn\w*|flags?|flagged)\b.*\b(structure|memory|lengths|finite|unused|replay|cost)\b|"
        r"\b([Ll]oss|losses|accuracy|Score|verify|explore|CPU|bf16)\b"
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
    assert all(len(asked) >= 25 for asked in questions.values())
    for entry in [entry for asked in questions.values() for entry in asked]:
        asked = frozenset(words(entry["question"]))
        for target in entry["targets"]:
            shared = asked & symptoms[target]
            assert len(shared) <= len(symptoms[target]) / 4, (target, sorted(shared))


async def found(path, items, questions, options):
    """For each question the titles of the five that `search_cognition` would show, best first, and the methods."""
    async with open_workspace(path, make_embedder(options)) as workspace:
        async with workspace.transaction() as tx:
            stored = [
                await cognition.add(tx, cognition.NewItem.of(item.knowledge, "linear_attention", CognitionOrigin.SEED))
                for item in items
            ]
        assert all(is_new for _, is_new in stored)
        titles = {number: item.title for (number, _), item in zip(stored, items, strict=True)}
        await workspace.documents.catch_up()
        answers = [
            await workspace.documents.find(
                entry["question"],
                "cognition",
                domain="linear_attention",
                limit=5,
                threshold=THRESHOLD,
                diversity=DIVERSITY,
            )
            for entry in questions
        ]
    methods = Counter(answer.method for answer in answers)
    return [[titles[hit.ref_id] for hit in answer.hits] for answer in answers], methods


def measured(answers, questions):
    """(share of questions with a right item among five, mean share of the right items that are among five)"""
    hits, shares = [], []
    for answer, entry in zip(answers, questions, strict=True):
        right = set(answer) & set(entry["targets"])
        hits.append(bool(right))
        shares.append(len(right) / min(len(entry["targets"]), 5))
    return sum(hits) / len(hits), sum(shares) / len(shares)


async def shares(path, items, questions, options):
    """Set of questions to what `measured` says of it, and the methods by which they were answered."""
    asked = [entry for entries in questions.values() for entry in entries]
    answers, methods = await found(path, items, asked, options)
    paired = list(zip(answers, asked, strict=True))
    by_set = {}
    for name, entries in questions.items():
        own, paired = paired[: len(entries)], paired[len(entries) :]
        by_set[name] = measured([answer for answer, _ in own], [entry for _, entry in own])
    print({name: f"hit@5 {hit:.3f}, recall@5 {share:.3f}" for name, (hit, share) in by_set.items()}, methods)
    return by_set, methods


def at_least(by_set, **bars):
    assert by_set.keys() == bars.keys()
    for name, (hit, share) in by_set.items():
        assert hit >= bars[name][0], name
        assert share >= bars[name][1], name


@pytest.mark.anyio
async def test_an_analysis_finds_its_items_by_words(tmp_path, items, questions):
    by_set, methods = await shares(tmp_path, items, questions, EmbedderOptions("lexical"))
    assert set(methods) == {"lexical"}
    at_least(by_set, first=(0.85, 0.4), fresh=(0.9, 0.55))


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
    by_set, methods = await shares(tmp_path, items, questions, EmbedderOptions("minilm"))
    assert [method.split("/")[0] for method in methods] == ["minilm"]
    at_least(by_set, first=(0.75, 0.35), fresh=(0.9, 0.42))
