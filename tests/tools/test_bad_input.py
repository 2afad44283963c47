"""Whatever is wrong with a call, the agent reads what was expected, what came and what to do, and nothing is stored."""

import shutil
from pathlib import Path

import pytest

from .conftest import NUMBER_DOMAIN, open_bench, program

pytestmark = pytest.mark.anyio

CANDIDATE = {"campaign": "c1", "name": "a name", "motivation": "a motivation", "code": program(2.0), "wait_s": 0}
WITHOUT_CODE = {name: value for name, value in CANDIDATE.items() if name != "code"}
ITEM = {"title": "A title", "body": "A body.", "source": "arXiv:1412.6980"}
NUL, SURROGATE = "\0", "\ud800"

UNKNOWN = {
    "campaign of a status": ("campaign_status", {"campaign": "c9"}, ["no c9", "c1"]),
    "campaign of a sample": ("sample_nodes", {"campaign": "c9"}, ["no c9"]),
    "campaign of a change": ("update_campaign", {"campaign": "c9", "seeds": 2}, ["no c9"]),
    "campaign of a search": ("search_nodes", {"campaign": "c9"}, ["no c9"]),
    "campaign of a question": ("search_cognition", {"campaign": "c9", "query": "x"}, ["no c9"]),
    "campaign of new cognition": ("add_cognition", {"campaign": "c9", "items": [ITEM]}, ["no c9"]),
    "campaign of an experiment": ("run_experiment", CANDIDATE | {"campaign": "c9"}, ["no c9"]),
    "node": ("get_node", {"node": "n99"}, ["no n99", "search_nodes"]),
    "node of a comparison": ("compare_nodes", {"a": "n1", "b": "n99"}, ["no n99"]),
    "node of an analysis": ("record_analysis", {"node": "n99", "report": "r"}, ["no n99"]),
    "node to promote": ("promote_node", {"node": "n99"}, ["no n99"]),
    "node to ask about": ("search_cognition", {"campaign": "c1", "nodes": ["n99"]}, ["no n99"]),
    "parent": ("run_experiment", CANDIDATE | {"parents": ["n99"]}, ["no n99"]),
    "experiment": ("wait_experiment", {"experiments": ["e1", "e99"]}, ["no e99", "campaign_status"]),
    "experiment to cancel": ("cancel_experiment", {"experiment": "e99"}, ["no e99"]),
    "cognition that inspired": ("run_experiment", CANDIDATE | {"inspired_by": ["k99"]}, ["no k99", "search_cognition"]),
    "lesson that inspired": ("run_experiment", CANDIDATE | {"inspired_by": ["l99"]}, ["no l99", "get_node"]),
    "node that inspired": ("run_experiment", CANDIDATE | {"inspired_by": ["n99"]}, ["no n99"]),
    "stage": ("run_experiment", CANDIDATE | {"stage": "moon"}, ["'moon'", "explore, verify"]),
    "stage to promote to": ("promote_node", {"node": "n1", "stage": "moon"}, ["'moon'", "explore, verify"]),
    "domain": ("start_campaign", {"domain": "moon"}, ["'moon'", "circle_packing"]),
    "domain to show": ("list_domains", {"domain": "moon"}, ["'moon'", "circle_packing"]),
    "domain folder": ("start_campaign", {"domain": "/nowhere/at/all"}, ["/nowhere/at/all", "does not exist"]),
    "instance": ("start_campaign", {"domain": "circle_packing", "instance": "n7"}, ["'n7'", "n26, n32"]),
    "instance where there is none": ("start_campaign", {"domain": NUMBER_DOMAIN, "instance": "a"}, ["no instances"]),
    "sampler": ("start_campaign", {"domain": NUMBER_DOMAIN, "sampler": "moon"}, ["'moon'", "ucb1, greedy, random"]),
    "sampler to change to": ("update_campaign", {"campaign": "c1", "sampler": "moon"}, ["'moon'", "ucb1"]),
    "outcome": ("search_nodes", {"campaign": "c1", "outcome": "moon"}, ["'moon'", "queued", "candidate_error"]),
    "file of a node": ("get_node", {"node": "n1", "part": "code", "path": "moon.py"}, ["'moon.py'", "number.py"]),
    "sort order": ("search_nodes", {"campaign": "c1", "sort": "moon"}, ["sort: Input should be 'relevance', 'best'"]),
    "part of a node": ("get_node", {"node": "n1", "part": "moon"}, ["'moon'", "summary"]),
    "bound of a budget": (
        "start_campaign",
        {"domain": NUMBER_DOMAIN, "budget": {"moons": 1}},
        ["budget.moons", "budget has experiments, rounds, cpu_seconds"],
    ),
    "misspelt option": (
        "update_campaign",
        {"campaign": "c1", "options": {"novelity": "warn"}},
        ["options.novelity", "Did you mean novelty?"],
    ),
    "option of the sampler": (
        "update_campaign",
        {"campaign": "c1", "options": {"sampling": {"moons": 1}}},
        ["options.sampling has", "exploration_weight", "bins"],
    ),
}

OF_WRONG_KIND = {
    "an experiment as a campaign": (
        "campaign_status",
        {"campaign": "e1"},
        ["id of a campaign", "that of an experiment"],
    ),
    "an experiment as a node": ("get_node", {"node": "e1"}, ["id of a node such as n1", "experiment"]),
    "a node as an experiment": ("wait_experiment", {"experiments": ["n1"]}, ["id of an experiment", "that of a node"]),
    "a campaign to cancel": ("cancel_experiment", {"experiment": "c1"}, ["experiment", "campaign"]),
    "cognition as a parent": ("run_experiment", CANDIDATE | {"parents": ["k1"]}, ["id of a node", "cognition item"]),
    "an experiment that inspired": ("run_experiment", CANDIDATE | {"inspired_by": ["e1"]}, ["lessons (l)", "e1"]),
}

GARBAGE = [
    "",
    " ",
    "1",
    "n",
    "n0",
    "n-1",
    "n1.5",
    "N1",
    "n01",
    "n1n2",
    "n" + "9" * 40,
    "ñ1",
    "n１",
    "n1; DROP",
    SURROGATE,
]

CANDIDATES = {
    "no code at all": (WITHOUT_CODE, ["exactly one of code, files, edits", "none"]),
    "code and edits": (CANDIDATE | {"edits": "x"}, ["code and edits"]),
    "code and files": (CANDIDATE | {"files": {"number.py": "x"}}, ["code and files"]),
    "empty code": (CANDIDATE | {"code": ""}, ["number.py", "empty"]),
    "blank code": (CANDIDATE | {"code": " \n\t"}, ["number.py", "empty"]),
    "a syntax error": (CANDIDATE | {"code": "def number(seed):\n  return ("}, ["does not parse", "line 2"]),
    "two megabytes": (CANDIDATE | {"code": program(1) + "#" * 2_000_000}, ["at most 200000 bytes", "2000"]),
    "NUL bytes": (CANDIDATE | {"code": program(1) + NUL}, ["number.py", "NUL"]),
    "lone surrogates": (CANDIDATE | {"code": program(SURROGATE).replace(r"\ud800", SURROGATE)}, ["surrogates"]),
    "deep nesting": (CANDIDATE | {"code": "x = " + "(" * 5000 + ")" * 5000}, ["number.py"]),
    "without its function": (CANDIDATE | {"code": "x = 1"}, ["to define number", "brief"]),
    "no files": (WITHOUT_CODE | {"files": {}}, ["number.py", "no files"]),
    "a wrong file": (WITHOUT_CODE | {"files": {"other.py": program(1)}}, ["number.py", "other.py"]),
    "too many files": (WITHOUT_CODE | {"files": {"number.py": program(1), "b.py": ""}}, ["at most 1 file"]),
    "a path that climbs": (
        WITHOUT_CODE | {"files": {"../number.py": program(1)}},
        ["'../number.py'", "file names such as"],
    ),
    "an absolute path": (WITHOUT_CODE | {"files": {"/tmp/number.py": program(1)}}, ["'/tmp/number.py'"]),
    "a path with a NUL": (WITHOUT_CODE | {"files": {"number.py\0": program(1)}}, ["file names such as"]),
    "a path on another system": (WITHOUT_CODE | {"files": {"a\\number.py": program(1)}}, ["file names such as"]),
    "edits without a parent": (
        WITHOUT_CODE | {"edits": "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE"},
        ["parents="],
    ),
    "an empty motivation": (CANDIDATE | {"motivation": " \u200b "}, ["motivation", "empty"]),
    "a long motivation": (CANDIDATE | {"motivation": "m" * 8001}, ["motivation", "at most 8000", "8001", "Shorten"]),
    "an empty name": (CANDIDATE | {"name": ""}, ["name", "empty"]),
    "a long name": (CANDIDATE | {"name": "n" * 81}, ["name", "at most 80"]),
    "eleven parents": (CANDIDATE | {"parents": [f"n{place}" for place in range(1, 12)]}, ["at most 10 parents", "11"]),
    "too many inspirations": (
        CANDIDATE | {"inspired_by": [f"k{place}" for place in range(1, 32)]},
        ["at most 30", "31"],
    ),
    "an empty key": (CANDIDATE | {"idempotency_key": ""}, ["idempotency_key", "empty"]),
    "a long key": (CANDIDATE | {"idempotency_key": "k" * 201}, ["idempotency_key", "at most 200"]),
}

EDITS = {
    "matching nowhere": ("return 1.5", ["matched nowhere", "nearest text", "return 1.0", "Copy whole lines exactly"]),
    "matching twice": ("r", ["matched", "times, at lines", "Quote more"]),
    "searching for nothing": ("", ["SEARCH is empty"]),
}

NUMBERS = {
    "waiting too long": ("wait_experiment", {"experiments": ["e1"], "wait_s": 46}, ["wait_s", "45"]),
    "waiting less than nothing": ("wait_experiment", {"experiments": ["e1"], "wait_s": -1}, ["wait_s", "0"]),
    "waiting for ever": ("wait_experiment", {"experiments": ["e1"], "wait_s": "Infinity"}, ["wait_s"]),
    "waiting for NaN": ("wait_experiment", {"experiments": ["e1"], "wait_s": "NaN"}, ["wait_s"]),
    "running for NaN": ("run_experiment", CANDIDATE | {"wait_s": "nan"}, ["wait_s"]),
    "no ids": ("wait_experiment", {"experiments": []}, ["1 to 20", "0"]),
    "too many ids": ("wait_experiment", {"experiments": ["e1"] * 21}, ["1 to 20", "21"]),
    "an offset before the beginning": ("get_node", {"node": "n1", "part": "code", "offset": -1}, ["offset"]),
    "an offset of a search": ("search_nodes", {"campaign": "c1", "offset": -1}, ["offset"]),
    "an offset of a diff": ("compare_nodes", {"a": "n1", "b": "n1", "offset": -1}, ["offset"]),
    "too large a page": ("search_nodes", {"campaign": "c1", "limit": 51}, ["limit", "50"]),
    "no items": ("search_cognition", {"campaign": "c1", "query": "x", "top_k": 0}, ["top_k"]),
    "too many references": ("sample_nodes", {"campaign": "c1", "references": 11}, ["references", "10"]),
    "no seeds": ("run_experiment", CANDIDATE | {"seeds": 0}, ["seeds"]),
    "too many seeds": ("promote_node", {"node": "n1", "seeds": 65}, ["seeds", "64"]),
    "a NaN budget": ("update_campaign", {"campaign": "c1", "budget": {"cpu_seconds": "NaN"}}, ["cpu_seconds"]),
    "an infinite target": ("update_campaign", {"campaign": "c1", "budget": {"target_score": "inf"}}, ["target_score"]),
    "a budget of nothing": ("update_campaign", {"campaign": "c1", "budget": {"experiments": 0}}, ["experiments"]),
    "a campaign without a bound": (
        "update_campaign",
        {"campaign": "c1", "budget": {"experiments": None}},
        ["experiments"],
    ),
    "shares of draws above one": (
        "start_campaign",
        {
            "domain": NUMBER_DOMAIN,
            "sampler": "map_elites",
            "options": {"sampling": {"exploration": 0.7, "exploitation": 0.6}},
        },
        ["at most 1 together", "0.7 + 0.6", "Lower one"],
    ),
    "a huge seed": ("start_campaign", {"domain": NUMBER_DOMAIN, "seed": 2**31}, ["seed"]),
}

TEXTS = {
    "a question about nothing": ("search_cognition", {"campaign": "c1"}, ["query", "empty"]),
    "a long question": ("search_cognition", {"campaign": "c1", "query": "q" * 4001}, ["query", "at most 4000"]),
    "a change of nothing": (
        "update_campaign",
        {"campaign": "c1"},
        ["program or options", "none"],
    ),
    "an empty report": ("record_analysis", {"node": "n1", "report": "\n"}, ["report", "empty"]),
    "a long report": ("record_analysis", {"node": "n1", "report": "r" * 8001}, ["report", "at most 8000"]),
    "an empty lesson": ("record_analysis", {"node": "n1", "report": "r", "lessons": ["l", ""]}, ["lesson 2", "empty"]),
    "a long lesson": ("record_analysis", {"node": "n1", "report": "r", "lessons": ["l" * 1001]}, ["lesson 1", "1000"]),
    "too many lessons": ("record_analysis", {"node": "n1", "report": "r", "lessons": ["l"] * 11}, ["at most 10", "11"]),
    "too many tags": ("record_analysis", {"node": "n1", "report": "r", "tags": ["t"] * 11}, ["at most 10", "11"]),
    "a long tag": ("record_analysis", {"node": "n1", "report": "r", "tags": ["t" * 41]}, ["tag 1", "at most 40"]),
    "no items": ("add_cognition", {"campaign": "c1", "items": []}, ["1 to 50", "0"]),
    "too many items": ("add_cognition", {"campaign": "c1", "items": [ITEM] * 51}, ["1 to 50", "51"]),
    "a megabyte of body": (
        "add_cognition",
        {"campaign": "c1", "items": [ITEM | {"body": "b" * 1_000_000}]},
        ["body of item 1", "at most 20000", "1000000"],
    ),
    "an item without a source": (
        "add_cognition",
        {"campaign": "c1", "items": [ITEM | {"source": ""}]},
        ["source of item 1"],
    ),
    "an item of control characters": (
        "add_cognition",
        {"campaign": "c1", "items": [ITEM | {"title": "\x1b\u202e\U000e0041"}]},
        ["title of item 1", "empty"],
    ),
    "an item with too many tags": (
        "add_cognition",
        {"campaign": "c1", "items": [ITEM | {"tags": ["t"] * 11}]},
        ["at most 10 tags in item 1"],
    ),
    "an item with unknown fields": (
        "add_cognition",
        {"campaign": "c1", "items": [ITEM | {"origin": "human"}]},
        ["items.0.origin", "not permitted", "items.0 has title, body, source"],
    ),
    "a long goal": ("start_campaign", {"domain": NUMBER_DOMAIN, "goal": "g" * 2001}, ["goal", "at most 2000"]),
    "a long campaign name": ("start_campaign", {"domain": NUMBER_DOMAIN, "name": "g" * 121}, ["name", "at most 120"]),
    "a domain by a relative path": ("start_campaign", {"domain": "./domains/number"}, ["absolute path", "./domains"]),
    "a domain by a climbing path": ("start_campaign", {"domain": "../number"}, ["absolute path"]),
    "a domain with a NUL": ("start_campaign", {"domain": "/tmp/\0"}, ["absolute path"]),
    "a domain with a surrogate": ("start_campaign", {"domain": f"/tmp/{SURROGATE}"}, ["surrogates"]),
    "a file as a domain": ("start_campaign", {"domain": __file__}, ["not a folder"]),
}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def standing(tmp_path_factory):
    """Campaign c1 with eleven scored nodes, shared: a refused call leaves nothing behind."""
    async with open_bench(tmp_path_factory.mktemp("standing")) as bench:
        campaign = await bench.campaign()
        for value in range(100, 110):
            await bench.node(campaign, value)
        yield bench


def each(cases):
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


async def refused(bench, case):
    tool, arguments, said = case
    text = await bench.refusal(tool, **arguments)
    assert [word for word in said if word not in text] == [], text
    assert len(text) < 3000, "a refusal quotes no more than it must"


@each(UNKNOWN)
async def test_what_does_not_exist_is_named_with_what_does(standing, case):
    await refused(standing, case)


@each(OF_WRONG_KIND)
async def test_an_id_of_the_wrong_kind_is_told_apart(standing, case):
    await refused(standing, case)


@pytest.mark.parametrize("text", GARBAGE, ids=ascii)
async def test_garbage_is_no_id(standing, text):
    for tool, arguments in (
        ("get_node", {"node": text}),
        ("campaign_status", {"campaign": text}),
        ("wait_experiment", {"experiments": [text]}),
        ("run_experiment", CANDIDATE | {"inspired_by": [text]}),
    ):
        assert "Expected an id such as c1 (campaign), n1 (node), e1" in await standing.refusal(tool, **arguments)


@each(CANDIDATES)
async def test_a_candidate_that_cannot_be_run_is_refused_before_it_is_stored(standing, case):
    arguments, said = case
    await refused(standing, ("run_experiment", arguments, said))


@each(EDITS)
async def test_an_edit_must_match_in_one_place(bench, campaign, case):
    search, said = case
    edits = (
        f"<<<<<<< SEARCH\n{search}\n=======\nx\n>>>>>>> REPLACE"
        if search
        else "<<<<<<< SEARCH\n=======\nx\n>>>>>>> REPLACE"
    )
    parent = await bench.node(campaign, 5.0, code="def number(seed):\n    r\n    r\n    return 1.0\nr = 1\n")
    await refused(bench, ("run_experiment", WITHOUT_CODE | {"edits": edits, "parents": [parent]}, said))


async def test_text_that_is_no_edit_is_shown_the_form(standing):
    text = await standing.refusal("run_experiment", **WITHOUT_CODE, edits="please return 5", parents=["n1"])
    assert "<<<<<<< SEARCH\n<old text>\n=======\n<new text>\n>>>>>>> REPLACE" in text


@each(NUMBERS)
async def test_a_number_out_of_range_is_refused_with_its_range(standing, case):
    await refused(standing, case)


@each(TEXTS)
async def test_a_text_that_says_nothing_or_too_much_is_refused(standing, case):
    await refused(standing, case)


async def test_a_program_that_only_looks_different_is_refused_with_the_node_it_equals(bench, campaign):
    node = await bench.node(campaign, 2.0, name="the first")
    await bench.call("record_analysis", node=node, report="It was a good idea.")
    again = '"""A docstring."""\n# a comment\n' + program(2.0).replace("    return", "    # here\n\n    return")
    text = await bench.refusal("run_experiment", **CANDIDATE | {"code": again})
    assert f"this is the program of {node} (the first), which scored 2" in text
    assert "It was a good idea." in text
    assert f"promote_node(node='{node}')" in text


async def test_the_baseline_itself_is_a_duplicate(bench, campaign):
    baseline = (Path(NUMBER_DOMAIN) / "baseline" / "number.py").read_text()
    assert "program of n1 (baseline)" in await bench.refusal("run_experiment", **CANDIDATE | {"code": baseline})


async def test_the_same_program_is_new_in_another_campaign(bench, campaign):
    await bench.node(campaign, 2.0)
    other = await bench.campaign()
    assert (await bench.queue(other, 2.0))["status"] == "queued"


async def test_a_parent_of_another_campaign_is_refused_and_pointed_to_inspired_by(bench, campaign):
    other = await bench.campaign()
    text = await bench.refusal("run_experiment", **CANDIDATE | {"campaign": other, "parents": ["n1"]})
    assert "n1 belongs to c1" in text
    assert "inspired_by" in text
    assert (await bench.queue(other, 2.0, inspired_by=["n1"]))["status"] == "queued"


async def test_what_has_not_finished_can_neither_be_analysed_nor_promoted(bench, campaign):
    queued = await bench.queue(campaign, 2.0)
    for tool, arguments in (("record_analysis", {"report": "r"}), ("promote_node", {"wait_s": 0})):
        text = await bench.refusal(tool, node=queued["node"], **arguments)
        assert f"{queued['node']} to be finished, but it is queued" in text
    text = await bench.refusal("get_node", node=queued["node"], part="log")
    assert "to have run, but it is queued" in text


@pytest.fixture
def broken_domain(tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(NUMBER_DOMAIN, folder)
    return folder


BREAKS = {
    "no domain.toml": (lambda folder: (folder / "domain.toml").unlink(), ["domain.toml", "there is none"]),
    "not TOML": (lambda folder: (folder / "domain.toml").write_text("a = "), ["domain.toml", "TOML"]),
    "an unknown key": (
        lambda folder: (folder / "domain.toml").write_text(f"stagse = 1\n{(folder / 'domain.toml').read_text()}"),
        ["domain.toml", "stagse"],
    ),
    "a wrong value": (
        lambda folder: (folder / "domain.toml").write_text(
            (folder / "domain.toml").read_text().replace("memory_mb = 200", "memory_mb = -1", 1)
        ),
        ["domain.toml", "stages.0.memory_mb"],
    ),
    "no brief": (lambda folder: (folder / "brief.md").unlink(), ["brief.md"]),
    "no baseline": (lambda folder: shutil.rmtree(folder / "baseline"), ["candidate.entry", "baseline/number.py"]),
    "no evaluator": (lambda folder: (folder / "evaluator.py").unlink(), ["scripts.evaluator", "evaluator.py"]),
    "broken cognition": (
        lambda folder: (folder / "cognition.yaml").write_text("- title: only a title\n"),
        ["cognition.yaml", "item 1", "body"],
    ),
    "a binary brief": (lambda folder: (folder / "brief.md").write_bytes(b"\xff\xfe\x00"), ["brief.md", "UTF-8"]),
}


@each(BREAKS)
async def test_a_broken_domain_folder_is_told_by_file_and_key(bench, broken_domain, case):
    damage, said = case
    damage(broken_domain)
    await refused(bench, ("start_campaign", {"domain": str(broken_domain)}, said))


async def test_a_campaign_outlives_its_domain_folder(bench, broken_domain):
    campaign = await bench.campaign(domain=str(broken_domain))
    shutil.rmtree(broken_domain)
    assert str(broken_domain) in await bench.refusal("run_experiment", **CANDIDATE | {"campaign": campaign})
    assert (await bench.call("campaign_status", campaign=campaign))["best"][0]["id"] == "n1"
    assert (await bench.call("sample_nodes", campaign=campaign))["parent"]["id"] == "n1"


async def test_an_argument_that_does_not_exist_is_refused_instead_of_dropped(bench, campaign):
    assert "no argument parent. Did you mean parents?" in await bench.refusal(
        "run_experiment", **CANDIDATE, parent="n1"
    )
    assert "no argument moon. It has campaign, name, motivation" in await bench.refusal(
        "run_experiment", **CANDIDATE, moon=1
    )


async def test_arguments_of_the_wrong_type_are_all_named_with_what_came(bench):
    text = await bench.refusal("run_experiment", campaign=["c1"], name="x", wait_s="soon")
    assert "campaign: Input should be a valid string, but got ['c1']." in text
    assert "Expected the argument motivation, but it is missing." in text
    assert "wait_s: Input should be a valid number" in text
    assert "pydantic" not in text
    assert "Error executing" not in text


async def test_megabytes_of_edits_are_refused_at_once(standing):
    edits = "<<<<<<< SEARCH\n" * 130_000
    text = await standing.refusal("run_experiment", **WITHOUT_CODE, edits=edits, parents=["n1"])
    assert "Send the whole program instead" in text
