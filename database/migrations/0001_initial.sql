-- Ids are never reused (AUTOINCREMENT), so a short id such as n42 means one thing for ever.
-- Times are seconds since the epoch. Columns that end in _json hold JSON.

CREATE TABLE campaigns (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    goal TEXT NOT NULL,
    domain TEXT NOT NULL,
    domain_name TEXT NOT NULL,
    domain_version TEXT NOT NULL,
    instance TEXT,
    settings_json TEXT NOT NULL,
    samples_drawn INTEGER NOT NULL DEFAULT 0,
    cpu_seconds REAL NOT NULL DEFAULT 0,
    gpu_seconds REAL NOT NULL DEFAULT 0,
    created_at REAL NOT NULL
) STRICT;

-- Narrow on purpose: sampling and leaderboards scan it, so texts and code live elsewhere.
CREATE TABLE nodes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id INTEGER NOT NULL REFERENCES campaigns (id),
    name TEXT NOT NULL,
    is_baseline INTEGER NOT NULL,
    status TEXT NOT NULL,
    outcome TEXT,
    score REAL,
    score_stderr REAL,
    score_seeds INTEGER NOT NULL DEFAULT 0,
    score_stage TEXT,
    visits INTEGER NOT NULL DEFAULT 0,
    code_bytes INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX nodes_by_campaign ON nodes (campaign_id, id);
CREATE INDEX nodes_by_score ON nodes (campaign_id, score DESC, id) WHERE score IS NOT NULL;
CREATE INDEX nodes_by_visits ON nodes (campaign_id, visits, score DESC, id) WHERE score IS NOT NULL;
-- Candidates that ended by their own merit: what patience counts, and what wants an analysis.
CREATE INDEX nodes_concluded ON nodes (campaign_id, id) WHERE NOT is_baseline
    AND outcome NOT IN ('cancelled', 'lost', 'infrastructure_error');
CREATE INDEX nodes_by_fingerprint ON nodes (campaign_id, fingerprint);

CREATE TABLE node_texts (
    node_id INTEGER PRIMARY KEY REFERENCES nodes (id),
    motivation TEXT NOT NULL
) STRICT;

CREATE TABLE node_files (
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    path TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (node_id, path)
) STRICT;

CREATE TABLE lineage (
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    position INTEGER NOT NULL,
    parent_id INTEGER NOT NULL REFERENCES nodes (id),
    PRIMARY KEY (node_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX lineage_by_parent ON lineage (parent_id);

-- What inspired a node: a cognition item (k), another node (n) or a lesson (l).
CREATE TABLE inspirations (
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    kind TEXT NOT NULL CHECK (kind IN ('k', 'n', 'l')),
    ref_id INTEGER NOT NULL,
    PRIMARY KEY (node_id, kind, ref_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE experiments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id INTEGER NOT NULL REFERENCES campaigns (id),
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    stage TEXT NOT NULL,
    seeds_json TEXT NOT NULL,
    status TEXT NOT NULL,
    outcome TEXT,
    reason TEXT NOT NULL DEFAULT '',
    score REAL,
    current_stage TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    idempotency_key TEXT,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL
) STRICT;
CREATE INDEX experiments_by_status ON experiments (status, id) WHERE status <> 'finished';
CREATE INDEX experiments_by_node ON experiments (node_id, id);
CREATE INDEX experiments_by_campaign ON experiments (campaign_id, id);
CREATE UNIQUE INDEX experiments_by_key ON experiments (campaign_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- One run of one stage with one seed that has been ordered and has not ended: what a daemon adopts.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    experiment_id INTEGER NOT NULL UNIQUE REFERENCES experiments (id),
    stage TEXT NOT NULL,
    seed INTEGER NOT NULL,
    token TEXT NOT NULL,
    folder TEXT NOT NULL,
    cpus INTEGER NOT NULL,
    gpus_json TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;

CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    experiment_id INTEGER NOT NULL REFERENCES experiments (id),
    stage TEXT NOT NULL,
    seed INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    score REAL,
    limit_json TEXT,
    cpu_seconds REAL NOT NULL,
    wall_seconds REAL NOT NULL,
    gpu_seconds REAL NOT NULL,
    peak_memory_mb REAL NOT NULL,
    peak_pids INTEGER NOT NULL,
    environment_json TEXT NOT NULL,
    started_at REAL NOT NULL,
    finished_at REAL NOT NULL
) STRICT;
CREATE INDEX evaluations_by_experiment ON evaluations (experiment_id, id);

CREATE TABLE metrics (
    evaluation_id INTEGER NOT NULL REFERENCES evaluations (id),
    name TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (evaluation_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE logs (
    evaluation_id INTEGER NOT NULL REFERENCES evaluations (id),
    stream TEXT NOT NULL CHECK (stream IN ('stdout', 'stderr', 'evaluator')),
    text TEXT NOT NULL,
    UNIQUE (evaluation_id, stream)
) STRICT;

-- Content-addressed files beside the database: artifacts/ab/abcdef...
CREATE TABLE artifacts (
    evaluation_id INTEGER NOT NULL REFERENCES evaluations (id),
    name TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (evaluation_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE analyses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id INTEGER NOT NULL REFERENCES campaigns (id),
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    report TEXT NOT NULL,
    tags_json TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX analyses_by_node ON analyses (node_id, id);

CREATE TABLE lessons (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id INTEGER NOT NULL REFERENCES campaigns (id),
    node_id INTEGER NOT NULL REFERENCES nodes (id),
    analysis_id INTEGER NOT NULL REFERENCES analyses (id),
    text TEXT NOT NULL,
    tags_json TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX lessons_by_node ON lessons (node_id, id);
CREATE INDEX lessons_by_campaign ON lessons (campaign_id, id);

CREATE TABLE cognition (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain TEXT,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    symptom TEXT NOT NULL,
    source TEXT NOT NULL,
    tags_json TEXT NOT NULL,
    origin TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE UNIQUE INDEX cognition_by_content ON cognition (ifnull(domain, ''), sha256);

-- Every searchable text once, whatever it belongs to: the text index and the vectors hang on its id.
CREATE TABLE documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('motivation', 'analysis', 'lesson', 'cognition')),
    ref_id INTEGER NOT NULL,
    campaign_id INTEGER,
    domain TEXT,
    text TEXT NOT NULL,
    UNIQUE (kind, ref_id)
) STRICT;
CREATE VIRTUAL TABLE documents_fts USING fts5 (
    text, content = 'documents', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER documents_insert AFTER INSERT ON documents BEGIN
    INSERT INTO documents_fts (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER documents_delete AFTER DELETE ON documents BEGIN
    INSERT INTO documents_fts (documents_fts, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER documents_update AFTER UPDATE ON documents BEGIN
    INSERT INTO documents_fts (documents_fts, rowid, text) VALUES ('delete', old.id, old.text);
    INSERT INTO documents_fts (rowid, text) VALUES (new.id, new.text);
END;

-- Which embedder made the vectors in table vectors_<id>. Vectors are disposable: they can be made again from documents.
CREATE TABLE embedders (
    id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    dimension INTEGER NOT NULL
) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id INTEGER NOT NULL REFERENCES campaigns (id),
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    data_json TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX events_by_campaign ON events (campaign_id, id);
