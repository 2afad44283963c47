-- Sources besides the first one: those of items that were merged into this one.
ALTER TABLE cognition ADD COLUMN more_sources_json TEXT NOT NULL DEFAULT '[]';

-- Which items carry a tag or come from a source, made from the columns by triggers so that they cannot fall behind.
CREATE TABLE cognition_tags (
    tag TEXT NOT NULL COLLATE NOCASE,
    item_id INTEGER NOT NULL REFERENCES cognition (id) ON DELETE CASCADE,
    PRIMARY KEY (tag, item_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX cognition_tags_by_item ON cognition_tags (item_id);
CREATE TABLE cognition_sources (
    source TEXT NOT NULL COLLATE NOCASE,
    item_id INTEGER NOT NULL REFERENCES cognition (id) ON DELETE CASCADE,
    PRIMARY KEY (source, item_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX cognition_sources_by_item ON cognition_sources (item_id);

INSERT OR IGNORE INTO cognition_tags (tag, item_id)
    SELECT t.value, c.id FROM cognition AS c, json_each(c.tags_json) AS t;
INSERT OR IGNORE INTO cognition_sources (source, item_id) SELECT source, id FROM cognition;

CREATE TRIGGER cognition_insert AFTER INSERT ON cognition BEGIN
    INSERT OR IGNORE INTO cognition_tags (tag, item_id) SELECT value, new.id FROM json_each(new.tags_json);
    INSERT OR IGNORE INTO cognition_sources (source, item_id)
        SELECT new.source, new.id UNION ALL SELECT value, new.id FROM json_each(new.more_sources_json);
END;
CREATE TRIGGER cognition_update AFTER UPDATE ON cognition BEGIN
    DELETE FROM cognition_tags WHERE item_id = new.id;
    DELETE FROM cognition_sources WHERE item_id = new.id;
    INSERT OR IGNORE INTO cognition_tags (tag, item_id) SELECT value, new.id FROM json_each(new.tags_json);
    INSERT OR IGNORE INTO cognition_sources (source, item_id)
        SELECT new.source, new.id UNION ALL SELECT value, new.id FROM json_each(new.more_sources_json);
END;

-- Texts that were merged into an item and are not shown: nothing is lost, and the same text again is known already.
CREATE TABLE cognition_variants (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id INTEGER NOT NULL REFERENCES cognition (id) ON DELETE CASCADE,
    domain TEXT,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    symptom TEXT NOT NULL,
    source TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE UNIQUE INDEX cognition_variants_by_content ON cognition_variants (ifnull(domain, ''), sha256);
CREATE INDEX cognition_variants_by_item ON cognition_variants (item_id);
CREATE INDEX cognition_by_domain ON cognition (domain, id);
