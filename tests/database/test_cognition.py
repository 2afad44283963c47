"""The cognition store: merging loses nothing, and tags and sources are found whatever ranks above."""

import dataclasses

import pytest
from asi_evolve.database import cognition, migrations
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.models import CognitionOrigin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.anyio
on_one_file = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SHORT = cognition.NewItem(
    domain="packing",
    title="Short",
    body="A zebra.",
    symptom="",
    source="arxiv:2406.06484",
    tags=("stripes",),
    origin=CognitionOrigin.AGENT,
)
LONG = dataclasses.replace(
    SHORT,
    title="Long",
    body="A giraffe, and why it is taller than others.",
    symptom="Leaves out of reach.",
    source="doi:10.1/x",
    tags=("Stripes", "neck"),
)


async def add(desk, item):
    async with desk.workspace.transaction() as tx:
        return await cognition.add(tx, item)


async def merge(desk, into, item):
    async with desk.workspace.transaction() as tx:
        return await cognition.merge(tx, into, item)


async def find(desk, query, **more):
    return [hit.ref_id for hit in (await desk.workspace.documents.find(query, "cognition", **more)).hits]


async def test_the_longer_text_wins_under_the_older_number_and_the_other_is_kept(desk):
    number, _ = await add(desk, SHORT)
    merged = await merge(desk, number, LONG)
    (item,) = await cognition.many(desk.read, [number])
    assert (item.title, item.body, item.symptom) == (LONG.title, LONG.body, LONG.symptom)
    assert (item.source, item.more_sources) == ("arxiv:2406.06484", ("doi:10.1/x",))
    assert item.tags == ("stripes", "neck")
    assert merged == cognition.Merged(True, ("doi:10.1/x",), ("neck",))
    (hidden,) = await cognition.variants(desk.read, [number])
    assert (hidden.title, hidden.body, hidden.source) == ("Short", "A zebra.", "arxiv:2406.06484")


async def test_a_shorter_text_leaves_the_older_one_and_adds_its_tags_and_source(desk):
    number, _ = await add(desk, LONG)
    merged = await merge(desk, number, SHORT)
    (item,) = await cognition.many(desk.read, [number])
    assert (item.title, item.body) == (LONG.title, LONG.body)
    assert item.more_sources == ("arxiv:2406.06484",)
    assert (merged.replaced, merged.tags) == (False, ())
    assert [text.body for text in await cognition.variants(desk.read, [number])] == ["A zebra."]


async def test_a_merged_item_is_found_by_the_words_that_it_shows(desk):
    number, _ = await add(desk, SHORT)
    assert await find(desk, "zebra") == [number]
    await merge(desk, number, LONG)
    assert await find(desk, "giraffe leaves") == [number]
    assert await find(desk, "neck") == [number]
    assert await find(desk, "zebra") == []


@pytest.mark.parametrize(("first", "second"), [(SHORT, LONG), (LONG, SHORT)])
async def test_a_text_that_was_merged_is_known_when_it_comes_again(desk, first, second):
    number, _ = await add(desk, first)
    await merge(desk, number, second)
    assert await add(desk, first) == (number, False)
    assert await add(desk, second) == (number, False)
    assert await desk.read.value("SELECT count(*) FROM cognition") == 1


async def test_what_is_known_for_every_domain_is_known_in_each_but_not_the_reverse(desk):
    everywhere, _ = await add(desk, dataclasses.replace(SHORT, domain=None))
    assert await add(desk, SHORT) == (everywhere, False)
    own, _ = await add(desk, LONG)
    general, is_new = await add(desk, dataclasses.replace(LONG, domain=None))
    assert is_new
    assert general != own


async def test_items_are_listed_by_tag_origin_and_source(desk):
    one, _ = await add(desk, SHORT)
    two, _ = await add(desk, dataclasses.replace(LONG, tags=("neck",), origin=CognitionOrigin.HUMAN))
    assert await cognition.carrying(desk.read, ["STRIPES"], None) == [one]
    assert await cognition.carrying(desk.read, ["stripes", "neck"], None) == [one, two]
    assert await cognition.carrying(desk.read, ["stripes", "neck"], CognitionOrigin.HUMAN) == [two]
    assert await cognition.carrying(desk.read, [], CognitionOrigin.AGENT) == [one]
    assert await cognition.carrying(desk.read, ["absent"], None) == []
    assert await cognition.of_sources(desk.read, ["doi:10.1/x", "absent"]) == [two]
    await merge(desk, one, dataclasses.replace(LONG, body=LONG.body + " More.", tags=("neck",)))
    assert await cognition.carrying(desk.read, ["neck"], None) == [one, two]
    assert await cognition.of_sources(desk.read, ["doi:10.1/x"]) == [two, one]


async def test_a_tag_is_found_below_a_thousand_better_matches(desk):
    async with desk.workspace.transaction() as tx:
        for place in range(1000):
            await cognition.add(tx, dataclasses.replace(SHORT, title=f"zebra zebra zebra {place}"))
        rare, _ = await cognition.add(tx, dataclasses.replace(LONG, body="Much about giraffes, and one zebra."))
    assert rare not in await find(desk, "zebra", limit=400)
    assert await find(desk, "zebra", among=await cognition.carrying(desk.read, ["neck"], None)) == [rare]
    assert await find(desk, "zebra", among=[]) == []


@on_one_file
@given(tags=st.lists(st.text(max_size=12), max_size=5), sources=st.lists(st.text(min_size=1, max_size=12), min_size=1))
async def test_the_tables_of_tags_and_sources_are_in_step_with_the_items(desk, tags, sources):
    clean = [text.encode(errors="replace").decode().replace("\0", "") for text in tags]
    named = [text.encode(errors="replace").decode().replace("\0", "") or "s" for text in sources]
    new = dataclasses.replace(SHORT, title=repr((tags, sources)), source=named[0], more_sources=named[1:], tags=clean)
    number, _ = await add(desk, new)
    assert all([number in await cognition.carrying(desk.read, [tag], None) for tag in clean])
    assert all([number in await cognition.of_sources(desk.read, [source], limit=10_000) for source in named])


async def test_items_of_an_older_database_keep_their_tags_and_sources(tmp_path, monkeypatch):
    scripts = migrations.migration_scripts()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migration_scripts", lambda: {n: sql for n, sql in scripts.items() if n < 6})
        async with open_workspace(tmp_path / "w") as old, old.transaction() as tx:
            await tx.execute(
                "INSERT INTO cognition (domain, title, body, symptom, source, tags_json, origin, sha256, created_at)"
                " VALUES ('packing', 'Old', 'An okapi.', '', 'arXiv:1', '[\"x\", \"X\", \"y\"]', 'seed', 'aa', 1.0)"
            )
    async with open_workspace(tmp_path / "w") as new:
        assert await cognition.carrying(new.read, ["Y"], None) == [1]
        assert await cognition.of_sources(new.read, ["arXiv:1"]) == [1]
        (item,) = await cognition.many(new.read, [1])
        assert (item.source, item.more_sources, item.tags) == ("arXiv:1", (), ("x", "X", "y"))


async def test_items_are_counted_and_listed_by_domain(desk):
    one, _ = await add(desk, SHORT)
    two, _ = await add(desk, dataclasses.replace(LONG, domain=None))
    assert await cognition.counts(desk.read) == {None: 1, "packing": 1}
    assert [item.id for item in await cognition.of_domain(desk.read, "packing")] == [one]
    assert [item.id for item in await cognition.of_domain(desk.read, None)] == [two]


class Letters:
    """An embedder: how often each letter stands in a text."""

    fingerprint, dimension = "letters", 26

    async def prepare(self):
        pass

    async def encode_documents(self, texts):
        return [[1e-3 + text.lower().count(chr(97 + place)) for place in range(26)] for text in texts]

    encode_queries = encode_documents


async def test_a_search_by_meaning_can_be_narrowed_to_some_items_too(tmp_path):
    async with open_workspace(tmp_path / "w", Letters()) as workspace:
        async with workspace.transaction() as tx:
            for place in range(20):
                await cognition.add(tx, dataclasses.replace(SHORT, title=f"zz {place}", body="zzzz", tags=()))
            rare, _ = await cognition.add(tx, dataclasses.replace(SHORT, title="aa", body="az", tags=("rare",)))
        tagged = await cognition.carrying(workspace.read, ["rare"], None)
        plain = await workspace.documents.find("zzz", "cognition", limit=5)
        found = await workspace.documents.find("zzz", "cognition", among=tagged, limit=5)
        nothing = await workspace.documents.find("zzz", "cognition", among=[], limit=5)
    assert (plain.method, found.method) == ("letters", "letters")
    assert rare not in [hit.ref_id for hit in plain.hits]
    assert [hit.ref_id for hit in found.hits] == [rare]
    assert nothing.hits == []
