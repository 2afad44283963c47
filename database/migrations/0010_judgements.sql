-- What a judge said of a node by the rubric of its domain; the latest of each judge counts.
CREATE TABLE judgements (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id INTEGER NOT NULL REFERENCES campaigns (id),
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    judge TEXT NOT NULL CHECK (judge IN ('agent', 'endpoint')),
    model TEXT,
    marks_json TEXT NOT NULL,
    quality REAL NOT NULL CHECK (quality BETWEEN 0 AND 1),
    comment TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX judgements_by_node ON judgements (node_id, judge, id);

-- Only where a domain has a rubric: the metric's share of the score, which evaluations compare with, and what the
-- judges say from 0 to 1, null until one has judged.
ALTER TABLE nodes ADD COLUMN metric_score REAL;
ALTER TABLE nodes ADD COLUMN quality REAL;
CREATE INDEX nodes_by_metric ON nodes (campaign_id, score_stage, metric_score) WHERE metric_score IS NOT NULL;
CREATE INDEX nodes_unjudged ON nodes (campaign_id, score DESC, id)
    WHERE score IS NOT NULL AND metric_score IS NOT NULL AND quality IS NULL;
