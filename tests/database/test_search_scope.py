"""Scopes never leak: each index finds exactly what a filter over all documents would, whatever the scope."""

import pytest
from asi_evolve.database.search import documents, text_index, vector_index
from asi_evolve.database.search.documents import DocumentSearch
from asi_evolve.database.search.stems import stemmed_words
from asi_evolve.database.workspace import open_workspace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.anyio
KINDS = ["motivation", "analysis", "lesson", "cognition"]
# Pairs that a sloppy scope would mix up: prefixes, letters of hex, words that look like a scope, other alphabets.
CAMPAIGNS = [None, 1, 2, 11, 12, 112]
DOMAINS = [None, "d", "da", "dd", "packing", "Packing", "packings", "motivationx", "a b", "x", "漢字", "née", "nee"]
WORDS = ["zebra", "zebras", "red", "motivationx", "lesson11cx", "cognitiondx", "packing"]

one_document = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(CAMPAIGNS),
    st.sampled_from(DOMAINS),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join),
)
scopes = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "campaigns": st.none() | st.lists(st.sampled_from([1, 2, 11, 12, 112, 999]), max_size=4),
        "domain": st.none() | st.sampled_from([domain for domain in DOMAINS if domain is not None] + ["unknown"]),
        "among": st.none() | st.lists(st.integers(1, 30)),
    }
)


def inside(number, document, scope):
    kind, campaign, domain, _ = document
    return (
        kind == scope["kind"]
        and (scope["campaigns"] is None or campaign in scope["campaigns"])
        and (scope["domain"] is None or domain in (None, scope["domain"]))
        and (scope["among"] is None or number in scope["among"])
    )


async def written(tx, stored):
    await tx.execute("DELETE FROM documents")
    for number, (kind, campaign, domain, text) in enumerate(stored, start=1):
        await documents.put(tx, kind, number, text, campaign_id=campaign, domain=domain)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(one_document, max_size=30), scopes, st.lists(st.sampled_from(WORDS), min_size=1, max_size=2))
async def test_each_index_finds_what_is_inside_the_scope_and_fits_and_nothing_else(
    desk, hashing, monkeypatch, stored, scope, queries
):
    async with desk.workspace.transaction() as tx:
        await written(tx, stored)
    wanted = {number for number, document in enumerate(stored, start=1) if inside(number, document, scope)}
    words = DocumentSearch(desk.workspace.database)
    driver = desk.workspace.database.driver
    *texts, asked = stemmed_words(driver, [*(document[3] for document in stored), " ".join(queries)])
    fitting = {number for number in wanted if texts[number - 1] & asked}
    assert {hit.ref_id for hit in (await words.find(queries, limit=100, **scope)).hits} == fitting
    for scanned in (0, 1_000):
        monkeypatch.setattr(vector_index, "SCANNED_ROWS", scanned)
        search = DocumentSearch(desk.workspace.database, hashing())
        await search.catch_up()
        near = await search.find(queries, limit=100, **scope)
        assert near.method == "hashing-64"
        assert {hit.ref_id for hit in near.hits} == wanted
        assert [hit.score for hit in near.hits] == sorted((hit.score for hit in near.hits), reverse=True)
        await search.close()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(one_document, min_size=5, max_size=40), scopes, st.integers(1, 8), st.sampled_from(WORDS))
async def test_vectors_compared_in_memory_and_inside_sqlite_give_the_same_answer(
    desk, hashing, monkeypatch, stored, scope, limit, query
):
    async with desk.workspace.transaction() as tx:
        await written(tx, stored)
    answers = []
    for scanned in (0, 1_000):
        monkeypatch.setattr(vector_index, "SCANNED_ROWS", scanned)
        search = DocumentSearch(desk.workspace.database, hashing())
        await search.catch_up()
        hits = (await search.find([query, "red"], limit=limit, **scope)).hits
        answers.append([pytest.approx(hit.score, abs=1e-5) for hit in hits])
        await search.close()
    assert [score.expected for score in answers[0]] == answers[1]


async def test_a_text_that_moves_to_another_scope_is_found_there_alone(desk, hashing):
    search = DocumentSearch(desk.workspace.database, hashing())
    async with desk.workspace.transaction() as tx:
        await documents.put(tx, "cognition", 1, "zebra", domain="packing")
    for mode in (search, DocumentSearch(desk.workspace.database)):
        assert len((await mode.find("zebra", "cognition", domain="packing")).hits) == 1
    async with desk.workspace.transaction() as tx:
        await tx.execute("UPDATE documents SET domain = 'curation'")
    for mode in (search, DocumentSearch(desk.workspace.database)):
        assert (await mode.find("zebra", "cognition", domain="packing")).hits == []
        assert len((await mode.find("zebra", "cognition", domain="curation")).hits) == 1
    await search.close()


async def test_hundreds_of_campaigns_can_be_searched_at_once(desk, hashing):
    async with desk.workspace.transaction() as tx:
        for number in range(1, 1_001):
            await documents.put(tx, "motivation", number, "zebra", campaign_id=number)
    search = DocumentSearch(desk.workspace.database, hashing())
    await search.catch_up()
    even = list(range(2, 1_001, 2))
    for mode in (search, DocumentSearch(desk.workspace.database)):
        found = await mode.find("zebra", "motivation", campaigns=even, limit=1_000)
        assert sorted(hit.ref_id for hit in found.hits) == even
    await search.close()


async def test_a_search_is_bounded_and_finds_something_even_when_every_word_is_common(desk, monkeypatch):
    monkeypatch.setattr(text_index, "COMMON", 20)
    monkeypatch.setattr(text_index, "RANKED_POSTINGS", 30)
    monkeypatch.setattr(text_index, "RANKED_TEXTS", 50)
    async with desk.workspace.transaction() as tx:
        for number in range(1, 201):
            rare = "hexagon" if number == 60 else "filler"
            await documents.put(tx, "lesson", number, f"the loss of a {rare} model", campaign_id=1)
    find = DocumentSearch(desk.workspace.database).find
    assert [hit.ref_id for hit in (await find("the loss of the hexagon model", "lesson", limit=1)).hits] == [60]
    common = (await find("the loss of the model", "lesson", limit=5)).hits
    assert len(common) == 5
    assert all(hit.ref_id > 150 for hit in common)  # the newest are ranked
    assert (await find("the loss of the model", "lesson", campaigns=[2])).hits == []


async def test_of_a_long_question_the_rarest_words_count(desk, monkeypatch):
    monkeypatch.setattr(text_index, "MOST_WORDS_USED", 4)
    async with desk.workspace.transaction() as tx:
        for number in range(1, 101):
            await documents.put(tx, "lesson", number, f"common{number % 10} filler words")
        await documents.put(tx, "lesson", 101, "zebra lattice")
    long = " ".join(f"common{place}" for place in range(10)) + " words and then at its end the zebra"
    assert (await DocumentSearch(desk.workspace.database).find(long, "lesson", limit=1)).hits[0].ref_id == 101


async def test_texts_of_an_older_database_are_found_in_their_scope(tmp_path, monkeypatch, desk_on, hashing):
    from asi_evolve.database import migrations

    scripts = migrations.migration_scripts()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migration_scripts", lambda: {n: sql for n, sql in scripts.items() if n < 6})
        async with open_workspace(tmp_path) as workspace, workspace.transaction() as tx:
            await documents.put(tx, "lesson", 1, "zebra", campaign_id=1)
            await documents.put(tx, "lesson", 2, "zebras", campaign_id=2)
            await documents.put(tx, "cognition", 3, "zebra", domain="packing")
    async with open_workspace(tmp_path, hashing()) as workspace:
        for search in (workspace.documents, DocumentSearch(workspace.database)):
            assert [hit.ref_id for hit in (await search.find("zebra", "lesson", campaigns=[1])).hits] == [1]
            assert [hit.ref_id for hit in (await search.find("zebra", "cognition", domain="packing")).hits] == [3]
        async with workspace.transaction() as tx:
            await tx.execute("INSERT INTO documents_fts (documents_fts, rank) VALUES ('integrity-check', 1)")
