"""Search by words: finds every kind of text, takes any query, and never falls behind what is stored."""

import pytest
from asi_evolve.database import analyses, cognition
from asi_evolve.database.search import documents
from asi_evolve.evolution.models import CognitionOrigin
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.anyio
on_one_file = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def item(title, body="body", domain="circle_packing", **more):
    fields = {"symptom": "", "source": "arXiv:2603.29640", "tags": (), "origin": CognitionOrigin.SEED} | more
    return cognition.NewItem(domain=domain, title=title, body=body, **fields)


async def add_item(desk, new):
    async with desk.workspace.transaction() as tx:
        return (await cognition.add(tx, new))[0]


async def analyse(desk, campaign, node, report, lessons=()):
    async with desk.workspace.transaction() as tx:
        return await analyses.add(tx, campaign_id=campaign, node_id=node, report=report, lessons=lessons, tags=[])


async def find(desk, query, kind, **more):
    found = await desk.workspace.documents.find(query, kind, **more)
    assert found.method == "lexical"
    return [hit.ref_id for hit in found.hits]


async def test_every_kind_of_text_is_found_by_a_word_of_it_and_only_as_its_own_kind(desk):
    campaign = await desk.campaign()
    await desk.node(campaign, "first")
    node = await desk.node(campaign, "hexagonal start", "a zebra lattice")
    report, lessons = await analyse(desk, campaign, node, "the zebra overlapped", ["no zebra", "zebra near walls"])
    known = await add_item(desk, item("Zebra packings", "striped"))
    assert await find(desk, "zebra", "motivation") == [node]
    assert await find(desk, "hexagonal", "motivation") == [node]
    assert await find(desk, "zebra", "analysis") == [report]
    assert sorted(await find(desk, "zebra", "lesson")) == lessons
    assert await find(desk, "zebra", "cognition") == [known]
    assert await find(desk, "giraffe", "cognition") == []


async def test_cognition_is_found_by_title_symptom_body_and_tag(desk):
    number = await add_item(desk, item("alpha", "beta", symptom="gamma", tags=("delta",)))
    for word in ("alpha", "beta", "gamma", "delta"):
        assert await find(desk, word, "cognition") == [number]


async def test_words_are_found_in_other_forms_and_without_accents(desk):
    campaign = await desk.campaign()
    node = await desk.node(campaign, "n", "Packings by Poincaré, optimised")
    for query in ("packing", "PACKED", "poincare", "Poincaré", "optimises"):
        assert await find(desk, query, "motivation") == [node], query


async def test_more_matching_words_come_first_and_the_limit_holds(desk):
    campaign = await desk.campaign()
    one = await desk.node(campaign, "one", "circles and something else entirely")
    both = await desk.node(campaign, "two", "circles touching walls")
    await desk.node(campaign, "three", "nothing of that")
    assert await find(desk, "circles at walls", "motivation") == [both, one]
    assert await find(desk, "circles at walls", "motivation", limit=1) == [both]


async def test_a_search_stays_in_its_campaign(desk):
    mine, other = await desk.campaign(), await desk.campaign()
    own = await desk.node(mine, "n", "zebra")
    foreign = await desk.node(other, "n", "zebra")
    assert await find(desk, "zebra", "motivation", campaigns=[mine]) == [own]
    assert await find(desk, "zebra", "motivation", campaigns=[other]) == [foreign]
    assert await find(desk, "zebra", "motivation") == [own, foreign]


async def test_a_search_in_a_domain_finds_its_knowledge_and_that_for_every_domain(desk):
    here = await add_item(desk, item("zebra one"))
    everywhere = await add_item(desk, item("zebra two", domain=None))
    elsewhere = await add_item(desk, item("zebra three", domain="curation"))
    assert sorted(await find(desk, "zebra", "cognition", domain="circle_packing")) == [here, everywhere]
    assert sorted(await find(desk, "zebra", "cognition", domain="curation")) == [everywhere, elsewhere]


async def test_a_changed_text_is_found_by_its_new_words_only_and_a_deleted_one_not_at_all(desk):
    campaign = await desk.campaign()
    node = await desk.node(campaign, "n", "zebra")
    async with desk.workspace.transaction() as tx:
        await documents.replace_text(tx, "motivation", node, "giraffe")
    assert await find(desk, "zebra", "motivation") == []
    assert await find(desk, "giraffe", "motivation") == [node]
    async with desk.workspace.transaction() as tx:
        await tx.execute("DELETE FROM documents WHERE kind = 'motivation' AND ref_id = ?", (node,))
        await tx.execute("INSERT INTO documents_fts (documents_fts, rank) VALUES ('integrity-check', 1)")
    assert await find(desk, "giraffe", "motivation") == []


async def test_what_a_failed_transaction_would_have_stored_is_not_found(desk):
    campaign = await desk.campaign()
    with pytest.raises(ZeroDivisionError):
        async with desk.workspace.transaction() as tx:
            await cognition.add(tx, item("zebra"))
            1 / 0  # noqa: B018
    await desk.node(campaign)
    assert await find(desk, "zebra", "cognition") == []


@on_one_file
@given(query=st.text(max_size=60))
@example(query="")
@example(query='"')
@example(query="zebra AND NOT (")
@example(query="text:zebra NEAR/2 * ^ -")
@example(query="'; DROP TABLE nodes; --")
@example(query="{text}: zebra*")
@example(query="__ _ ___")
@example(query="\0\ud800")
@example(query="漢字 زرافة 🦓 ﬀ İ")
@example(query="zebra " * 5000)
async def test_any_text_is_a_harmless_query(desk, query):
    campaign = await desk.campaign()
    found = await find(desk, query, "motivation", campaigns=[campaign])
    assert found == []
    assert await desk.read.value("SELECT count(*) FROM nodes") == 0


@pytest.mark.parametrize(
    "operator", ["AND", "OR", "NOT", "NEAR", "zebra*", '"zebra"', "text:zebra", "(zebra)", "-zebra"]
)
async def test_a_query_operator_is_just_a_word(desk, operator):
    campaign = await desk.campaign()
    node = await desk.node(campaign, "n", f"about {operator} and zebra")
    await desk.node(campaign, "other", "nothing")
    assert await find(desk, operator, "motivation") == [node]


@on_one_file
@given(word=st.from_regex(r"[a-z]{3,12}", fullmatch=True), noise=st.text(max_size=30))
async def test_a_text_is_found_by_any_word_of_it_whatever_surrounds_the_word(desk, word, noise):
    campaign = await desk.campaign()
    node = await desk.node(campaign, "n", f"before {word} after")
    assert node in await find(
        desk, f"{noise.encode(errors='replace').decode()} {word}", "motivation", campaigns=[campaign]
    )
