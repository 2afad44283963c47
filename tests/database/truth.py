"""What an archive must hold, worked out anew from the nodes by looking at all of them."""

from asi_evolve.database import nodes
from asi_evolve.database.map_elites import cells
from asi_evolve.evolution.map_elites import cell_of


def edit_distance(left, right):
    """Levenshtein, by the book."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        above, row = row, [i]
        for j, b in enumerate(right, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
    return row[-1]


def distance(left, right):
    left, right = ([line.strip() for line in text.splitlines() if line.strip()] for text in (left, right))
    return edit_distance(left, right) / max(len(left), len(right), 1)


async def check(reader, campaign, *, measures=True):
    """Elites are the best of their cells, nobody is lost or copied; the rows of the archive, (island, node) to row."""
    archive = await cells.find(reader, campaign)
    scores = {
        row["id"]: row["score"]
        for row in await reader.all("SELECT id, score FROM nodes WHERE campaign_id = ?", (campaign,))
    }
    waiting = {
        row["node_id"] for row in await reader.all("SELECT * FROM archive_queue WHERE campaign_id = ?", (campaign,))
    }
    rows = await reader.all("SELECT * FROM islanders WHERE campaign_id = ?", (campaign,))
    homes = [row["node_id"] for row in rows if row["is_home"]]
    assert len(homes) == len(set(homes)), "a node has two homes"
    scored = {node for node, score in scores.items() if score is not None}
    assert scored - waiting <= set(homes) <= set(scores)
    foreign = {row["node_id"] for row in rows} - set(scores)
    elsewhere = {node.id: node.score for node in await nodes.many(reader, sorted(foreign))}
    best = {}
    for row in rows:
        if not row["is_measured"]:
            assert (row["score"], row["cell"]) == (None, None)
            continue
        assert row["score"] == {**scores, **elsewhere}[row["node_id"]]
        values = [row[name] for name in cells.MEASURES[: len(archive.form.measures)]]
        if None in values:
            assert row["cell"] is None
            continue
        for value, bounds, measure in zip(values, archive.ranges, archive.form.measures, strict=True):
            assert measure.low is not None or bounds.low <= value <= bounds.high
        assert row["cell"] == cell_of(values, archive.ranges, archive.form.bins)
        if row["score"] is not None:
            mine = (-row["score"], row["node_id"])
            place = (row["island"], row["cell"])
            best[place] = min(best.get(place, mine), mine)
    elites = await reader.all("SELECT * FROM cells WHERE campaign_id = ?", (campaign,))
    stored = {(row["island"], row["cell"]): (-row["score"], row["node_id"]) for row in elites}
    assert stored == best
    for island in range(archive.form.islands):
        places = sorted(row["place"] for row in rows if row["island"] == island)
        assert places == list(range(1, len(places) + 1)), "a draw would look for a place that nobody has"
    if measures:
        await check_measures(reader, campaign, rows)
    return {(row["island"], row["node_id"]): row for row in rows}


async def check_measures(reader, campaign, rows):
    """Complexity and diversity, in the default form."""
    references = await reader.all("SELECT node_id FROM archive_references WHERE campaign_id = ?", (campaign,))
    codes = {
        row["node_id"]: row["text"]
        for row in await reader.all("SELECT node_id, group_concat(text, '') AS text FROM node_files GROUP BY node_id")
    }
    for row in rows[:: len(rows) // 500 + 1]:
        if row["is_measured"]:
            code = codes[row["node_id"]]
            against = [distance(code, codes[other["node_id"]]) for other in references]
            assert row["measure_0"] == len(code)
            assert abs(row["measure_1"] - sum(against) / len(against)) < 1e-9
