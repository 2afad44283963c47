"""Words answer until meaning can: while the embedder loads, embeds or fails, and the answer says so."""

import asyncio
import logging

import pytest
from asi_evolve.database.search import documents, semantic_search, vector_index
from asi_evolve.database.search.documents import DocumentSearch
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.errors import EmbedderUnavailable

pytestmark = pytest.mark.anyio


async def texts(workspace, count, first=1, kind="lesson", campaign=1):
    async with workspace.transaction() as tx:
        for number in range(first, first + count):
            await documents.put(tx, kind, number, f"zebra z{number:02d}", campaign_id=campaign)


async def eventually(search, wanted, kind="lesson", **more):
    """The first answer that was found by the wanted method."""
    for _ in range(500):
        found = await search.find("zebra z07", kind, **more)
        if found.method == wanted:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"still {found.method}")


def gated(hashing):
    """An embedder that loads and encodes documents only when it is let."""

    class Gated(hashing):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.may_load, self.may_encode = asyncio.Event(), asyncio.Event()
            self.loads = 0

        async def prepare(self):
            self.loads += 1
            await self.may_load.wait()

        async def encode_documents(self, given):
            await self.may_encode.wait()
            return await super().encode_documents(given)

    return Gated()


async def test_words_answer_while_the_embedder_loads_and_embeds_and_the_answer_tells_how_far_it_is(tmp_path, hashing):
    embedder = gated(hashing)
    async with open_workspace(tmp_path, embedder) as workspace:
        await texts(workspace, 100)
        for _ in range(3):
            found = await workspace.documents.find("zebra z07", "lesson")
            assert found.method == "lexical (the embedder is loading)"
            assert found.hits[0].ref_id == 7
        assert embedder.loads == 1
        embedder.may_load.set()
        await eventually(workspace.documents, "lexical (hashing-64: 0 of 100 texts embedded)")
        embedder.may_encode.set()
        found = await eventually(workspace.documents, "hashing-64")
        assert found.hits[0].ref_id == 7
        assert found.hits[0].score == pytest.approx(1.0, abs=1e-5)
        assert sorted(embedder.encoded) == sorted(f"zebra z{number:02d}" for number in range(1, 101))


async def test_a_few_new_texts_are_embedded_before_the_answer(tmp_path, hashing):
    async with open_workspace(tmp_path, hashing()) as workspace:
        await texts(workspace, vector_index.BATCH)
        found = await workspace.documents.find("zebra z07", "lesson")
        assert (found.method, found.hits[0].ref_id) == ("hashing-64", 7)
        await texts(workspace, 5, first=1000)
        found = await workspace.documents.find("zebra z1003", "lesson")
        assert (found.method, found.hits[0].ref_id) == ("hashing-64", 1003)


async def test_many_new_texts_of_one_kind_do_not_keep_another_from_being_found_by_meaning(tmp_path, hashing):
    embedder = gated(hashing)
    embedder.may_load.set()
    async with open_workspace(tmp_path, embedder) as workspace:
        await texts(workspace, 100, kind="lesson")
        assert (await workspace.documents.find("zebra", "lesson")).method.startswith("lexical (hashing-64: 0 of 100")
        found = await workspace.documents.find("zebra", "cognition")
        assert (found.method, found.hits) == ("hashing-64", [])


async def test_another_embedder_fills_its_own_vectors_in_the_background(tmp_path, hashing):
    async with open_workspace(tmp_path, hashing()) as workspace:
        await texts(workspace, 100)
        await workspace.documents.catch_up()
        assert (await workspace.documents.find("zebra", "lesson")).method == "hashing-64"
    other = hashing("hashing-32", 32)
    async with open_workspace(tmp_path, other) as workspace:
        first = await workspace.documents.find("zebra z07", "lesson")
        assert first.method.startswith("lexical (hashing-32: ")
        assert first.hits[0].ref_id == 7
        await eventually(workspace.documents, "hashing-32")
    assert len(other.encoded) == 100
    again = hashing()
    async with open_workspace(tmp_path, again) as workspace:
        assert (await workspace.documents.find("zebra", "lesson")).method == "hashing-64"
    assert again.encoded == []


async def test_an_embedder_that_cannot_be_had_is_named_in_the_answer_logged_once_and_tried_again(
    tmp_path, hashing, monkeypatch, caplog
):
    monkeypatch.setattr(semantic_search, "FIRST_PAUSE_S", 0.05)

    class Missing(hashing):
        tries = 0

        async def prepare(self):
            self.tries += 1
            if self.tries < 3:
                raise EmbedderUnavailable("Expected weights in /models, but got nothing.\x1b[31m Do this.")

    embedder = Missing()
    caplog.set_level(logging.WARNING)
    async with open_workspace(tmp_path, embedder) as workspace:
        await texts(workspace, 9)
        found = await workspace.documents.find("zebra z07", "lesson")
        assert found.method == "lexical (Expected weights in /models, but got nothing.[31m Do this.)"
        assert found.hits[0].ref_id == 7
        again = await workspace.documents.find("zebra z07", "lesson")
        assert (again, embedder.tries) == (found, 1)  # it is left alone for a while
        await eventually(workspace.documents, "hashing-64")
    assert embedder.tries == 3
    assert len([record for record in caplog.records if "Expected weights" in record.getMessage()]) == 1


@pytest.mark.parametrize("count", [3, 100])
async def test_an_embedder_that_fails_at_a_text_leaves_search_by_words(tmp_path, hashing, count, monkeypatch):
    monkeypatch.setattr(semantic_search, "FIRST_PAUSE_S", 0.05)

    class Poisoned(hashing):
        well = False

        async def encode_documents(self, given):
            return await super().encode_documents(given) if self.well else [[float("nan")] * 64 for _ in given]

    embedder = Poisoned()
    async with open_workspace(tmp_path, embedder) as workspace:
        await texts(workspace, count)
        for _ in range(300):
            found = await workspace.documents.find("zebra z02", "lesson")
            assert found.hits[0].ref_id == 2
            if "finite" in found.method:
                break
            await asyncio.sleep(0.01)
        assert found.method.startswith("lexical (Expected embedder hashing-64 to give a finite vector")
        embedder.well = True
        await eventually(workspace.documents, "hashing-64")


async def test_an_embedder_that_fails_at_the_question_leaves_search_by_words(tmp_path, hashing):
    class Deaf(hashing):
        async def encode_queries(self, given):
            raise EmbedderUnavailable("Expected an answer within 30 s, but the endpoint hangs.")

    async with open_workspace(tmp_path, Deaf()) as workspace:
        await texts(workspace, 9)
        found = await workspace.documents.find("zebra z07", "lesson")
        assert found.method == "lexical (Expected an answer within 30 s, but the endpoint hangs.)"
        assert found.hits[0].ref_id == 7


async def test_an_embedder_that_hangs_delays_one_search_and_not_the_next(tmp_path, hashing, monkeypatch):
    monkeypatch.setattr(semantic_search, "LONGEST_ANSWER_S", 0.1)

    class Hanging(hashing):
        asked = 0

        async def encode_queries(self, given):
            self.asked += 1
            await asyncio.Event().wait()

    embedder = Hanging()
    async with open_workspace(tmp_path, embedder) as workspace:
        await texts(workspace, 9)
        for _ in range(3):
            found = await workspace.documents.find("zebra z07", "lesson")
            assert found.method == "lexical (hashing-64 took longer than 0.1 s)"
    assert embedder.asked == 1


async def test_a_bug_in_an_embedder_is_logged_with_its_traceback_and_words_answer(tmp_path, hashing, caplog):
    class Buggy(hashing):
        async def prepare(self):
            raise ZeroDivisionError

    async with open_workspace(tmp_path, Buggy()) as workspace:
        await texts(workspace, 9)
        found = await workspace.documents.find("zebra z07", "lesson")
    assert found.method == "lexical (the embedder failed unexpectedly: ZeroDivisionError)"
    assert found.hits[0].ref_id == 7
    assert any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records)


async def test_closing_ends_the_work_and_keeps_what_was_embedded(tmp_path, hashing):
    class Endless(hashing):
        async def encode_documents(self, given):
            if self.encoded:
                await asyncio.Event().wait()
            return await super().encode_documents(given)

    before = asyncio.all_tasks()
    async with open_workspace(tmp_path, Endless()) as workspace:
        await texts(workspace, 100)
        await eventually(workspace.documents, "lexical (hashing-64: 32 of 100 texts embedded)")
    assert asyncio.all_tasks() == before
    rest = hashing()
    async with open_workspace(tmp_path, rest) as workspace:
        await workspace.documents.catch_up()
        assert len(rest.encoded) == 100 - vector_index.BATCH


async def test_a_search_by_words_alone_never_wakes_the_embedder(tmp_path, hashing):
    embedder = gated(hashing)
    async with open_workspace(tmp_path) as workspace:
        await texts(workspace, 9)
        search = DocumentSearch(workspace.database, embedder, mode="lexical")
        assert (await search.find("zebra z07", "lesson")).method == "lexical"
        await search.catch_up()
    assert embedder.loads == 0


async def test_a_threshold_drops_what_is_not_near_enough_and_says_nothing_to_words(tmp_path, hashing):
    async with open_workspace(tmp_path, hashing()) as workspace:
        async with workspace.transaction() as tx:
            for number, text in enumerate(("red green", "red grey", "black white"), start=1):
                await documents.put(tx, "lesson", number, text)
        find = workspace.documents.find
        assert [hit.ref_id for hit in (await find("red green", "lesson")).hits] == [1, 2, 3]
        assert [hit.ref_id for hit in (await find("red green", "lesson", threshold=0.4)).hits] == [1, 2]
        assert (await find("purple", "lesson", threshold=0.9)).hits == []
        words = DocumentSearch(workspace.database)
        assert [hit.ref_id for hit in (await words.find("red green", "lesson", threshold=0.999)).hits] == [1, 2]


@pytest.mark.parametrize("mode", ["vector", "lexical", "hybrid"])
async def test_diverse_hits_are_not_one_answer_several_times(tmp_path, hashing, mode):
    topics = {1: "zebra lattice walls", 2: "zebra lattices walls", 3: "zebra lattice walls one", 4: "zebra annealing"}
    async with open_workspace(tmp_path) as workspace:
        async with workspace.transaction() as tx:
            for number, text in topics.items():
                await documents.put(tx, "lesson", number, text)
            for number in range(5, 40):
                await documents.put(tx, "lesson", number, f"filler {number}")
        search = DocumentSearch(workspace.database, hashing("hashing-512", 512), mode=mode)
        await search.catch_up()
        plain = await search.find("zebra lattice walls", "lesson", limit=2)
        diverse = await search.find("zebra lattice walls", "lesson", limit=2, diversity=0.6)
        await search.close()
    assert {hit.ref_id for hit in plain.hits} < {1, 2, 3}
    assert diverse.method == plain.method
    assert diverse.hits[0] == plain.hits[0]
    assert diverse.hits[1].ref_id not in (1, 2, 3)


async def test_a_hybrid_finds_what_either_finds_and_prefers_what_both_do(tmp_path, hashing):
    class Synonyms(hashing):
        def vector(self, text):
            return super().vector(text.replace("feline", "cat"))

    async with open_workspace(tmp_path) as workspace:
        async with workspace.transaction() as tx:
            for number, text in enumerate(("a feline", "the cats", "cat", "filler", "more filler"), start=1):
                await documents.put(tx, "lesson", number, text)
        search = DocumentSearch(workspace.database, Synonyms(), mode="hybrid")
        found = await search.find("cat", "lesson", limit=3)
        await search.close()
    assert found.method == "hybrid (hashing-64 and lexical)"
    assert found.hits[0].ref_id == 3
    assert {hit.ref_id for hit in found.hits} == {1, 2, 3}


async def test_a_blank_question_finds_nothing(tmp_path, hashing):
    async with open_workspace(tmp_path, hashing()) as workspace:
        await texts(workspace, 3)
        assert (await workspace.documents.find(["", " \n"], "lesson")).hits == []
        assert len((await workspace.documents.find(["", "zebra"], "lesson")).hits) == 3
