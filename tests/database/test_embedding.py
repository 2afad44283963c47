"""Search by meaning, with any embedder: kept up to date, filtered, and closed to vectors that would poison it."""

import math
import zlib

import pytest
from asi_evolve.database import cognition
from asi_evolve.database.documents import DocumentSearch
from asi_evolve.database.embedding import VectorIndex
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.errors import StorageError
from asi_evolve.evolution.models import CognitionOrigin

pytestmark = pytest.mark.anyio


class HashingEmbedder:
    """Counts words in buckets: texts with more words in common are nearer."""

    def __init__(self, fingerprint="hashing-64", dimension=64):
        self.fingerprint = fingerprint
        self.dimension = dimension
        self.encoded = []

    async def prepare(self):
        pass

    def vector(self, text):
        counts = [0.0] * self.dimension
        for word in text.lower().split():
            counts[zlib.crc32(word.encode()) % self.dimension] += 1.0
        return counts

    async def encode_documents(self, texts):
        self.encoded += texts
        return [self.vector(text) for text in texts]

    async def encode_queries(self, texts):
        return [self.vector(text) for text in texts]


class Broken(HashingEmbedder):
    """Gives one bad vector among good ones."""

    def __init__(self, bad):
        super().__init__("broken")
        self.bad = bad

    def vector(self, text):
        return self.bad if "zebra" in text else super().vector(text)


async def nearest(index, query, kind="motivation", campaigns=None, domain=None, limit=5):
    return await index.nearest(query, kind=kind, campaigns=campaigns, domain=domain, limit=limit)


async def vectors(desk):
    tables = await desk.read.all("SELECT id FROM embedders")
    return {row["id"]: await desk.read.value(f"SELECT count(*) FROM vectors_{row['id']}") for row in tables}


async def add_item(desk, title, domain):
    new = cognition.NewItem(domain, title, "body", "", "own observation", (), CognitionOrigin.AGENT)
    async with desk.workspace.transaction() as tx:
        return (await cognition.add(tx, new))[0]


async def test_each_text_is_embedded_once_and_found_nearest_first(desk):
    campaign, embedder = await desk.campaign(), HashingEmbedder()
    index = VectorIndex(desk.workspace.database, embedder)
    texts = ["red green blue", "red green yellow", "black white grey"]
    numbers = [await desk.node(campaign, text, text) for text in texts]
    assert await index.update(batch=2) == 3
    assert await index.update() == 0
    assert len(embedder.encoded) == 3
    found = await nearest(index, "red green blue red green blue")
    assert [number for number, _ in found] == numbers
    assert found[0][1] == pytest.approx(1.0, abs=1e-5)
    assert found[0][1] > found[1][1] > found[2][1] >= -1.0
    assert [number for number, _ in await nearest(index, "red green blue", limit=1)] == numbers[:1]


async def test_a_text_added_later_is_found_by_the_next_search(tmp_path, desk_on):
    async with open_workspace(tmp_path, HashingEmbedder()) as workspace:
        desk = desk_on(workspace)
        campaign = await desk.campaign()
        for text in ("red green", "black white"):
            number = await desk.node(campaign, text, text)
            found = await workspace.documents.find(text, "motivation", campaigns=[campaign], limit=1)
            assert found.method == "hashing-64"
            assert [hit.ref_id for hit in found.hits] == [number]


async def test_a_search_stays_in_its_kind_campaign_and_domain(desk):
    mine, other = await desk.campaign(), await desk.campaign()
    own, foreign = await desk.node(mine, "n", "zebra"), await desk.node(other, "n", "zebra")
    here = await add_item(desk, "zebra one", "circle_packing")
    everywhere = await add_item(desk, "zebra two", None)
    await add_item(desk, "zebra three", "curation")
    index = VectorIndex(desk.workspace.database, HashingEmbedder())
    await index.update()
    assert [number for number, _ in await nearest(index, "zebra", campaigns=[mine])] == [own]
    assert sorted(number for number, _ in await nearest(index, "zebra")) == [own, foreign]
    in_domain = await nearest(index, "zebra", "cognition", domain="circle_packing")
    assert sorted(number for number, _ in in_domain) == [here, everywhere]
    assert await nearest(index, "zebra", "lesson") == []


@pytest.mark.parametrize(
    "bad",
    [[math.nan] * 64, [0.0] * 64, [1.0] * 63, [1.0] * 65, [], [math.inf] + [0.0] * 63, [1e-300] * 64],
    ids=["nan", "zero", "short", "long", "empty", "infinite", "vanishing"],
)
async def test_a_bad_vector_is_refused_and_nothing_of_its_batch_is_stored(desk, bad):
    campaign = await desk.campaign()
    await desk.node(campaign, "fine", "fine")
    await desk.node(campaign, "zebra", "zebra")
    index = VectorIndex(desk.workspace.database, Broken(bad))
    with pytest.raises(StorageError, match="Expected embedder broken to give a finite vector of length 64"):
        await index.update()
    assert list((await vectors(desk)).values()) == [0]
    with pytest.raises(StorageError, match="broken"):
        await nearest(index, "zebra")


async def test_too_few_vectors_store_nothing(desk):
    campaign = await desk.campaign()
    await desk.node(campaign, "one")
    await desk.node(campaign, "two")
    embedder = HashingEmbedder()

    async def only_one(texts):
        return [embedder.vector(texts[0])]

    embedder.encode_documents = only_one
    with pytest.raises((StorageError, ValueError)):
        await VectorIndex(desk.workspace.database, embedder).update()
    assert list((await vectors(desk)).values()) == [0]


async def test_two_embedders_live_side_by_side(desk):
    campaign = await desk.campaign()
    number = await desk.node(campaign, "zebra", "zebra")
    small, large = (
        VectorIndex(desk.workspace.database, HashingEmbedder(f"hashing-{dimension}", dimension))
        for dimension in (16, 128)
    )
    assert (await small.update(), await large.update()) == (1, 1)
    await desk.node(campaign, "later", "later")
    assert await small.update() == 1
    assert sorted((await vectors(desk)).values()) == [1, 2]
    for index in (small, large):
        assert (await nearest(index, "zebra"))[0][0] == number


async def test_an_embedder_that_changes_its_dimension_under_the_same_name_is_refused(desk):
    await desk.node(await desk.campaign())
    await VectorIndex(desk.workspace.database, HashingEmbedder(dimension=64)).update()
    changed = VectorIndex(desk.workspace.database, HashingEmbedder(dimension=32))
    for call in (changed.update(), nearest(changed, "zebra")):
        with pytest.raises(StorageError, match="to give vectors of length 64, but it says 32"):
            await call
    assert list((await vectors(desk)).values()) == [1]


async def test_two_processes_that_embed_the_same_text_store_it_once(desk):
    campaign = await desk.campaign()
    number = await desk.node(campaign, "zebra", "zebra")
    async with open_workspace(desk.workspace.paths.root) as other:

        class Slow(HashingEmbedder):
            """While it thinks, the other process finishes."""

            async def encode_documents(self, texts):
                assert await VectorIndex(other.database, HashingEmbedder()).update() == 1
                return await super().encode_documents(texts)

        search = DocumentSearch(desk.workspace.database, Slow())
        assert [hit.ref_id for hit in (await search.find("zebra", "motivation")).hits] == [number]
    assert list((await vectors(desk)).values()) == [1]


async def test_the_vectors_survive_reopening(tmp_path, desk_on):
    async with open_workspace(tmp_path, HashingEmbedder()) as workspace:
        desk = desk_on(workspace)
        await desk.node(await desk.campaign(), "zebra", "zebra")
        await workspace.documents.find("zebra", "motivation")
    again = HashingEmbedder()
    async with open_workspace(tmp_path, again) as workspace:
        assert len((await workspace.documents.find("zebra", "motivation")).hits) == 1
    assert again.encoded == []
