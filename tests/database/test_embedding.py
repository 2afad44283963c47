"""Search by meaning, with any embedder: in step with the texts, in its scope, and closed to vectors that poison it."""

import math
import time

import pytest
from asi_evolve.database import cognition
from asi_evolve.database.search import vector_index
from asi_evolve.database.search.documents import DocumentSearch
from asi_evolve.database.search.embedding import packed_queries
from asi_evolve.database.search.scope import Scope
from asi_evolve.database.search.vector_index import VectorIndex
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.errors import EmbedderUnavailable
from asi_evolve.evolution.models import CognitionOrigin

pytestmark = pytest.mark.anyio


async def nearest(index, embedder, query, kind="motivation", campaigns=None, domain=None, limit=5):
    vectors = await packed_queries(embedder, [query] if isinstance(query, str) else query)
    found = await index.nearest(vectors, Scope.of(kind, campaigns, domain), limit)
    return [(hit.ref_id, hit.score) for hit in found]


async def update(index):
    total = 0
    while done := await index.embed_missing():
        total += done
    return total


async def vectors(desk):
    """Embedder to how many vectors it has and how many texts wait for one."""
    rows = await desk.read.all(
        "SELECT fingerprint, (SELECT count(*) FROM vectors WHERE embedder_id = e.id),"
        " (SELECT count(*) FROM unembedded WHERE embedder_id = e.id) FROM embedders AS e"
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def add_item(desk, title, domain):
    new = cognition.NewItem(domain, title, "body", "", "own observation", (), CognitionOrigin.AGENT)
    async with desk.workspace.transaction() as tx:
        return (await cognition.add(tx, new))[0]


async def change(desk, sql, *parameters):
    async with desk.workspace.transaction() as tx:
        await tx.execute(sql, parameters)


@pytest.fixture(params=["compared inside SQLite", "compared in memory"])
def either_way(request, monkeypatch):
    """Both ways to compare vectors answer alike."""
    if request.param == "compared in memory":
        monkeypatch.setattr(vector_index, "SCANNED_ROWS", 0)


async def test_each_text_is_embedded_once_and_found_nearest_first(desk, hashing, either_way):
    campaign, embedder = await desk.campaign(), hashing()
    index = VectorIndex(desk.workspace.database, embedder)
    texts = ["red green blue", "red green yellow", "black white grey"]
    numbers = [await desk.node(campaign, text, text) for text in texts]
    assert await update(index) == 3
    assert await update(index) == 0
    assert len(embedder.encoded) == 3
    found = await nearest(index, embedder, "red green blue red green blue")
    assert [number for number, _ in found] == numbers
    assert found[0][1] == pytest.approx(1.0, abs=1e-5)
    assert found[0][1] > found[1][1] > found[2][1] >= -1.0
    assert [number for number, _ in await nearest(index, embedder, "red green blue", limit=1)] == numbers[:1]


async def test_a_text_counts_by_the_query_that_it_fits_best(desk, hashing, either_way):
    campaign, embedder = await desk.campaign(), hashing()
    index = VectorIndex(desk.workspace.database, embedder)
    red, grey, _ = [await desk.node(campaign, text, text) for text in ("red green", "black grey", "zebra")]
    await update(index)
    both = await nearest(index, embedder, ["red green red green", "black grey black grey"], limit=2)
    assert sorted(number for number, _ in both) == [red, grey]
    assert [score for _, score in both] == pytest.approx([1.0, 1.0], abs=1e-5)


async def test_a_text_added_later_is_found_by_the_next_search(tmp_path, desk_on, hashing, either_way):
    async with open_workspace(tmp_path, hashing()) as workspace:
        desk = desk_on(workspace)
        campaign = await desk.campaign()
        for text in ("red green", "black white", "blue pink"):
            number = await desk.node(campaign, text, text)
            found = await workspace.documents.find(text, "motivation", campaigns=[campaign], limit=1)
            assert found.method == "hashing-64"
            assert [hit.ref_id for hit in found.hits] == [number]


async def test_a_search_stays_in_its_kind_campaign_and_domain(desk, hashing, either_way):
    mine, other, third = [await desk.campaign() for _ in range(3)]
    own, foreign, last = [await desk.node(campaign, "n", "zebra") for campaign in (mine, other, third)]
    here = await add_item(desk, "zebra one", "circle_packing")
    everywhere = await add_item(desk, "zebra two", None)
    await add_item(desk, "zebra three", "curation")
    embedder = hashing()
    index = VectorIndex(desk.workspace.database, embedder)
    await update(index)
    assert [number for number, _ in await nearest(index, embedder, "zebra", campaigns=[mine])] == [own]
    assert sorted(n for n, _ in await nearest(index, embedder, "zebra", campaigns=[mine, third])) == [own, last]
    assert sorted(number for number, _ in await nearest(index, embedder, "zebra")) == [own, foreign, last]
    assert await nearest(index, embedder, "zebra", campaigns=[]) == []
    in_domain = await nearest(index, embedder, "zebra", "cognition", domain="circle_packing")
    assert sorted(number for number, _ in in_domain) == [here, everywhere]
    in_new_domain = await nearest(index, embedder, "zebra", "cognition", domain="a domain without items")
    assert [number for number, _ in in_new_domain] == [everywhere]
    assert await nearest(index, embedder, "zebra", "lesson") == []


async def test_a_changed_text_is_never_found_by_its_old_vector_and_a_deleted_one_not_at_all(desk, hashing, either_way):
    campaign = await desk.campaign()
    node, other = await desk.node(campaign, "n", "zebra"), await desk.node(campaign, "m", "zebra")
    embedder = hashing()
    index = VectorIndex(desk.workspace.database, embedder)
    await update(index)
    assert len(await nearest(index, embedder, "zebra")) == 2
    await change(desk, "UPDATE documents SET text = 'giraffe' WHERE ref_id = ?", node)
    assert [number for number, _ in await nearest(index, embedder, "zebra")] == [other]
    assert await vectors(desk) == {"hashing-64": (1, 1)}
    assert await update(index) == 1
    assert (await nearest(index, embedder, "giraffe"))[0] == (node, pytest.approx(1.0, abs=1e-5))
    await change(desk, "DELETE FROM documents WHERE ref_id = ?", node)
    assert [number for number, _ in await nearest(index, embedder, "giraffe")] == [other]
    assert await vectors(desk) == {"hashing-64": (1, 0)}


async def test_a_text_that_changes_while_it_is_embedded_does_not_get_the_vector_of_the_old_one(desk, hashing):
    campaign = await desk.campaign()
    await desk.node(campaign, "n", "zebra")
    deleted = await desk.node(campaign, "m", "zebra")

    class Overtaken(hashing):
        async def encode_documents(self, texts):
            if not self.encoded:
                await change(desk, "UPDATE documents SET text = 'giraffe' WHERE ref_id <> ?", deleted)
                await change(desk, "DELETE FROM documents WHERE ref_id = ?", deleted)
            return await super().encode_documents(texts)

    embedder = Overtaken()
    index = VectorIndex(desk.workspace.database, embedder)
    assert await index.embed_missing() == 2
    assert await vectors(desk) == {"hashing-64": (0, 1)}
    assert await index.embed_missing() == 1
    assert embedder.encoded == ["n\nzebra", "m\nzebra", "giraffe"]
    assert await vectors(desk) == {"hashing-64": (1, 0)}
    assert (await nearest(index, embedder, "giraffe"))[0][1] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    "bad",
    [[math.nan] * 64, [0.0] * 64, [1.0] * 63, [1.0] * 65, [], [math.inf] + [0.0] * 63, [1e-300] * 64],
    ids=["nan", "zero", "short", "long", "empty", "infinite", "vanishing"],
)
async def test_a_bad_vector_is_refused_and_nothing_of_its_batch_is_stored(desk, hashing, bad):
    campaign = await desk.campaign()
    await desk.node(campaign, "fine", "fine")
    await desk.node(campaign, "zebra", "zebra")

    class Broken(hashing):
        """Gives one bad vector among good ones."""

        def vector(self, text):
            return bad if "zebra" in text else super().vector(text)

    embedder = Broken("broken")
    index = VectorIndex(desk.workspace.database, embedder)
    with pytest.raises(EmbedderUnavailable, match="Expected embedder broken to give a finite vector of length 64"):
        await index.embed_missing()
    assert await vectors(desk) == {"broken": (0, 2)}
    with pytest.raises(EmbedderUnavailable, match="broken"):
        await nearest(index, embedder, "zebra")


async def test_too_few_vectors_store_nothing(desk, hashing):
    campaign = await desk.campaign()
    await desk.node(campaign, "one")
    await desk.node(campaign, "two")

    class Lazy(hashing):
        async def encode_documents(self, texts):
            return (await super().encode_documents(texts))[:1]

    with pytest.raises(EmbedderUnavailable, match="to give 2 vectors, but it gave 1"):
        await VectorIndex(desk.workspace.database, Lazy()).embed_missing()
    assert await vectors(desk) == {"hashing-64": (0, 2)}


async def test_two_embedders_live_side_by_side(desk, hashing, either_way):
    campaign = await desk.campaign()
    number = await desk.node(campaign, "zebra", "zebra")
    small, large = hashing("hashing-16", 16), hashing("hashing-128", 128)
    indexes = [VectorIndex(desk.workspace.database, embedder) for embedder in (small, large)]
    assert [await update(index) for index in indexes] == [1, 1]
    await desk.node(campaign, "later", "later")
    assert await update(indexes[0]) == 1
    assert await vectors(desk) == {"hashing-16": (2, 0), "hashing-128": (1, 1)}
    for index, embedder in zip(indexes, (small, large), strict=True):
        assert (await nearest(index, embedder, "zebra"))[0][0] == number


async def test_an_embedder_that_changes_its_dimension_under_the_same_name_is_refused(desk, hashing):
    await desk.node(await desk.campaign())
    await update(VectorIndex(desk.workspace.database, hashing(dimension=64)))
    changed = hashing(dimension=32)
    index = VectorIndex(desk.workspace.database, changed)
    for call in (update(index), nearest(index, changed, "zebra")):
        with pytest.raises(EmbedderUnavailable, match="to give vectors of length 64, but it says 32"):
            await call
    assert await vectors(desk) == {"hashing-64": (1, 0)}


async def test_two_processes_that_embed_the_same_text_store_it_once(desk, hashing):
    campaign = await desk.campaign()
    number = await desk.node(campaign, "zebra", "zebra")
    async with open_workspace(desk.workspace.paths.root) as other:

        class Slow(hashing):
            """While it thinks, the other process finishes."""

            async def encode_documents(self, texts):
                assert await VectorIndex(other.database, hashing()).embed_missing() == 1
                return await super().encode_documents(texts)

        search = DocumentSearch(desk.workspace.database, Slow())
        assert [hit.ref_id for hit in (await search.find("zebra", "motivation")).hits] == [number]
        await search.close()
    assert await vectors(desk) == {"hashing-64": (1, 0)}


async def test_the_vectors_survive_reopening(tmp_path, desk_on, hashing):
    async with open_workspace(tmp_path, hashing()) as workspace:
        desk = desk_on(workspace)
        await desk.node(await desk.campaign(), "zebra", "zebra")
        await workspace.documents.find("zebra", "motivation")
    again = hashing()
    async with open_workspace(tmp_path, again) as workspace:
        assert len((await workspace.documents.find("zebra", "motivation")).hits) == 1
    assert again.encoded == []


async def test_what_an_embedder_left_behind_goes_when_nobody_has_used_it_for_a_month(desk, hashing, monkeypatch):
    monkeypatch.setattr(vector_index, "DROPPED_AT_ONCE", 2)
    campaign = await desk.campaign()
    for position in range(5):
        await desk.node(campaign, f"n{position}", "zebra")
    old, recent, mine = [
        VectorIndex(desk.workspace.database, hashing(name)) for name in ("old", "recent", "in use now")
    ]
    for index in (old, recent, mine):
        await update(index)
    await desk.node(campaign, "late", "zebra")
    days_ago = {"old": 31, "recent": 29}
    for name, days in days_ago.items():
        then = time.time() - days * 86_400
        await change(desk, "UPDATE embedders SET last_used = ? WHERE fingerprint = ?", then, name)
    await mine.drop_unused()
    assert await vectors(desk) == {"recent": (5, 1), "in use now": (5, 1)}
    assert await desk.read.value("SELECT count(*) FROM vectors") == 10
    assert await desk.read.value("SELECT count(*) FROM unembedded") == 2
    # A process that slept for so long and wakes starts anew.
    assert await update(old) == 6
    assert (await vectors(desk))["old"] == (6, 0)


async def test_a_search_notes_that_its_embedder_is_in_use(desk, hashing):
    index = VectorIndex(desk.workspace.database, hashing())
    await index.number()
    await change(desk, "UPDATE embedders SET last_used = ?", time.time() - 29 * 86_400)
    await nearest(index, hashing(), "zebra")
    assert await desk.read.value("SELECT last_used FROM embedders") > time.time() - 60
