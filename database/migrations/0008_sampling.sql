-- Place of a node in its campaign, from 1 without a gap: how one is drawn at random without a scan.
ALTER TABLE nodes ADD COLUMN ordinal INTEGER NOT NULL DEFAULT 0;
UPDATE nodes SET ordinal = numbered.place FROM (
    SELECT id, row_number() OVER (PARTITION BY campaign_id ORDER BY id) AS place FROM nodes
) AS numbered WHERE numbered.id = nodes.id;
CREATE INDEX nodes_by_ordinal ON nodes (campaign_id, ordinal) WHERE score IS NOT NULL;
-- Nodes that patience does not count. They are few, so how many it counts follows without counting them.
CREATE INDEX nodes_not_concluded ON nodes (campaign_id, id)
    WHERE is_baseline OR outcome IS NULL OR outcome IN ('cancelled', 'lost', 'infrastructure_error');
-- Experiments ordered so far: every budget check asks.
ALTER TABLE campaigns ADD COLUMN experiments INTEGER NOT NULL DEFAULT 0;
UPDATE campaigns SET experiments = (SELECT count(*) FROM experiments WHERE campaign_id = campaigns.id);
-- Candidates on their way to their first result.
CREATE INDEX nodes_under_way ON nodes (campaign_id, id) WHERE outcome IS NULL AND status <> 'finished';

-- Parents handed out, and the child that each led to.
CREATE TABLE draws (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id INTEGER NOT NULL REFERENCES campaigns (id),
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    island INTEGER,
    drawn_at REAL NOT NULL,
    settled_by INTEGER REFERENCES nodes (id)
) STRICT;
CREATE INDEX draws_by_node ON draws (campaign_id, node_id, settled_by, id);
CREATE INDEX draws_open ON draws (campaign_id, drawn_at, node_id) WHERE settled_by IS NULL;
CREATE INDEX draws_by_child ON draws (settled_by) WHERE settled_by IS NOT NULL;

-- MAP-Elites: what a campaign's archive was built for (evolution.map_elites.ArchiveForm), and the next lineage's number.
CREATE TABLE archives (
    campaign_id INTEGER PRIMARY KEY REFERENCES campaigns (id),
    form_json TEXT NOT NULL,
    lineages INTEGER NOT NULL DEFAULT 0
) STRICT;
-- Range of each measure, by its place in the form; there once the first value has come.
CREATE TABLE archive_ranges (
    campaign_id INTEGER NOT NULL REFERENCES archives (campaign_id),
    measure INTEGER NOT NULL,
    low REAL NOT NULL,
    high REAL NOT NULL,
    PRIMARY KEY (campaign_id, measure)
) STRICT, WITHOUT ROWID;
-- What diversity is measured against.
CREATE TABLE archive_references (
    campaign_id INTEGER NOT NULL REFERENCES archives (campaign_id),
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    PRIMARY KEY (campaign_id, node_id)
) STRICT, WITHOUT ROWID;
-- How many candidates have scored that live on an island: what migration counts.
CREATE TABLE archive_islands (
    campaign_id INTEGER NOT NULL REFERENCES archives (campaign_id),
    island INTEGER NOT NULL,
    scored INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, island)
) STRICT, WITHOUT ROWID;
-- Who lives where, at home or as an immigrant (then also nodes of other campaigns). The score is that of the node, or
-- NULL while it has none or its measures are not known. Rows are never deleted while the archive keeps its form.
CREATE TABLE islanders (
    campaign_id INTEGER NOT NULL REFERENCES archives (campaign_id),
    island INTEGER NOT NULL,
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    place INTEGER NOT NULL,
    is_home INTEGER NOT NULL,
    is_measured INTEGER NOT NULL DEFAULT 0,
    score REAL,
    cell INTEGER,
    measure_0 REAL,
    measure_1 REAL,
    measure_2 REAL,
    measure_3 REAL,
    PRIMARY KEY (node_id, campaign_id, island)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX islanders_by_place ON islanders (campaign_id, island, place);
CREATE INDEX islanders_by_score ON islanders (campaign_id, island, score DESC, node_id) WHERE score IS NOT NULL;
CREATE INDEX islanders_by_cell ON islanders (campaign_id, island, cell, score DESC, node_id)
    WHERE score IS NOT NULL AND cell IS NOT NULL;
-- The best of each cell.
CREATE TABLE cells (
    campaign_id INTEGER NOT NULL REFERENCES archives (campaign_id),
    island INTEGER NOT NULL,
    cell INTEGER NOT NULL,
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    score REAL NOT NULL,
    PRIMARY KEY (campaign_id, island, cell)
) STRICT, WITHOUT ROWID;
CREATE INDEX cells_by_score ON cells (campaign_id, island, score DESC, node_id);
-- Scored nodes whose measures have still to be taken.
CREATE TABLE archive_queue (
    campaign_id INTEGER NOT NULL REFERENCES archives (campaign_id),
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    PRIMARY KEY (campaign_id, node_id)
) STRICT, WITHOUT ROWID;
