-- What the baseline of a campaign came to at a stage where scores are relative to it. Written once and never changed:
-- scores that were made from it have to go on comparing with those that will be.
CREATE TABLE baseline_statistics (
    campaign_id INTEGER NOT NULL REFERENCES campaigns (id),
    stage TEXT NOT NULL,
    metric TEXT NOT NULL,
    mean REAL NOT NULL,
    sd REAL NOT NULL,
    by_seed_json TEXT NOT NULL,
    experiment_id INTEGER NOT NULL REFERENCES experiments (id),
    created_at REAL NOT NULL,
    PRIMARY KEY (campaign_id, stage, metric)
) STRICT, WITHOUT ROWID;

-- What a run of a stage with `cache` hangs on, and the run whose result it was given instead of being run.
ALTER TABLE evaluations ADD COLUMN result_key TEXT;
ALTER TABLE evaluations ADD COLUMN cached_from INTEGER REFERENCES evaluations (id);
CREATE INDEX evaluations_by_result ON evaluations (result_key, id)
    WHERE result_key IS NOT NULL AND cached_from IS NULL;
