-- Candidates as they are compared with one another: `evolution.outline`. What an older version stored has no outline yet
-- (canonical is NULL) and gets one when its campaign is next searched for a program like a new one.
ALTER TABLE nodes ADD COLUMN canonical TEXT;
CREATE INDEX nodes_by_canonical ON nodes (campaign_id, canonical);

CREATE TABLE node_outlines (
    node_id INTEGER PRIMARY KEY REFERENCES nodes (id),
    body BLOB NOT NULL
) STRICT;

-- Bits that programs have the more in common, the more alike they are: `evolution.likeness.sketch`.
CREATE VIRTUAL TABLE node_sketches USING vec0 (node_id INTEGER PRIMARY KEY, sketch bit[512], campaign INTEGER);
