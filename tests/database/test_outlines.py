"""What programs are compared by is stored with them, all or nothing, and finds the most alike."""

import pytest
from asi_evolve.database import nodes, outlines
from asi_evolve.database.workspace import open_workspace
from asi_evolve.evolution.novelty.likeness import Profile, compare
from asi_evolve.evolution.novelty.outline import outline_of

pytestmark = pytest.mark.anyio


def text(changed=0):
    """Thirty functions, of which some differ from those of `text()`."""
    bodies = [f"    return x.a{place} * b{place}(x)" for place in range(30)]
    bodies[:changed] = [f"    return x.c{place} / d{place}(x)" for place in range(changed)]
    return "\n".join(f"def f{place}(x):\n{body}" for place, body in enumerate(bodies))


def profile(code):
    return Profile(outline_of({"a.py": code}))


async def test_the_most_alike_are_found_first_and_in_their_campaign_alone(desk):
    campaign, other = await desk.campaign(), await desk.campaign()
    order = (12, 3, 25, 0, 7)
    made = {changed: await desk.node(campaign, f"{changed}", profile=profile(text(changed))) for changed in order}
    await desk.node(other, "elsewhere", profile=profile(text()))
    found = await outlines.nearest(desk.read, campaign, profile(text()).sketch, 10)
    assert found == [made[changed] for changed in sorted(order)]
    assert await outlines.nearest(desk.read, campaign, profile(text()).sketch, 2) == found[:2]


async def test_what_is_stored_compares_as_what_was_given(desk):
    campaign = await desk.campaign()
    mine = profile(text(5))
    node = await desk.node(campaign, profile=mine)
    (theirs,) = (await outlines.many(desk.read, [node])).values()
    assert theirs.outline == mine.outline
    assert compare(mine, theirs).likeness == 1.0
    assert await outlines.with_canonical(desk.read, campaign, mine.outline.canonical) == node
    assert await outlines.with_canonical(desk.read, campaign + 1, mine.outline.canonical) is None


async def test_the_oldest_of_equal_programs_is_found(desk):
    campaign = await desk.campaign()
    oldest = await desk.node(campaign, "one", profile=profile(text()))
    await desk.node(campaign, "two", profile=profile(text()))
    assert await outlines.with_canonical(desk.read, campaign, profile(text()).outline.canonical) == oldest


async def test_a_node_that_is_not_stored_leaves_nothing_to_be_found(desk):
    campaign = await desk.campaign()

    class Stop(Exception):
        pass

    with pytest.raises(Stop):
        async with desk.workspace.transaction() as tx:
            await nodes.add(tx, nodes.NewNode(campaign, "n", "m", {"a.py": "x"}, "f", profile=profile(text())))
            assert await outlines.nearest(tx, campaign, profile(text()).sketch, 10) != []
            raise Stop
    assert await outlines.nearest(desk.read, campaign, profile(text()).sketch, 10) == []
    assert await outlines.with_canonical(desk.read, campaign, profile(text()).outline.canonical) is None
    assert await outlines.newest(desk.read, campaign) == 0


async def test_nodes_without_an_outline_are_listed_newest_first_until_they_have_one(desk):
    campaign = await desk.campaign()
    made = [await desk.node(campaign, f"{place}") for place in range(3)]
    assert await outlines.missing(desk.read, campaign, 2) == [made[2], made[1]]
    assert await outlines.many(desk.read, made) == {}
    for _ in range(2):  # the second time another process was faster
        async with desk.workspace.transaction() as tx:
            await outlines.put(tx, made[2], profile(text()))
    assert await outlines.missing(desk.read, campaign, 9) == [made[1], made[0]]
    assert list(await outlines.many(desk.read, made)) == [made[2]]
    assert await outlines.nearest(desk.read, campaign, profile(text()).sketch, 9) == [made[2]]


async def test_what_was_added_after_a_node_is_listed_newest_first(desk):
    campaign, other = await desk.campaign(), await desk.campaign()
    made = [await desk.node(campaign, f"{place}") for place in range(3)]
    await desk.node(other, "elsewhere")
    assert await outlines.newest(desk.read, campaign) == made[-1]
    assert await outlines.added_after(desk.read, campaign, made[0], 9) == [made[2], made[1]]
    assert await outlines.added_after(desk.read, campaign, made[0], 1) == [made[2]]


async def test_outlines_are_there_when_the_workspace_is_opened_again(tmp_path, desk_on):
    async with open_workspace(tmp_path) as workspace:
        desk = desk_on(workspace)
        campaign = await desk.campaign()
        node = await desk.node(campaign, profile=profile(text()))
    async with open_workspace(tmp_path) as workspace:
        assert await outlines.nearest(workspace.read, campaign, profile(text(1)).sketch, 3) == [node]
