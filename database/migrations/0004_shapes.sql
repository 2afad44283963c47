-- Hidden seeds come from this key and what they are for, so that they can be made again and nobody can tell them.
CREATE TABLE seed_key (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    key BLOB NOT NULL
) STRICT;
INSERT INTO seed_key (id, key) VALUES (1, randomblob(32));

-- More programs than harness and evaluator leave a log.
CREATE TABLE logs_of_programs (
    evaluation_id INTEGER NOT NULL REFERENCES evaluations (id),
    stream TEXT NOT NULL CHECK (stream IN ('stdout', 'stderr', 'predict', 'trainer', 'generator', 'evaluator')),
    text TEXT NOT NULL,
    UNIQUE (evaluation_id, stream)
) STRICT;
INSERT INTO logs_of_programs SELECT evaluation_id, stream, text FROM logs;
DROP TABLE logs;
ALTER TABLE logs_of_programs RENAME TO logs;
