-- Where a text may be found, as words that the text index holds beside it: a search in one kind, campaign or domain
-- then reads the postings of these alone. The x at the end keeps the stemmer off; the hex of a domain is one word.
ALTER TABLE documents ADD COLUMN scope TEXT GENERATED ALWAYS AS (
    kind || 'x ' || kind || ifnull(campaign_id, '') || 'cx ' || kind || 'd' || hex(ifnull(domain, '')) || 'x'
) VIRTUAL;
CREATE INDEX documents_by_scope ON documents (kind, campaign_id, domain, ref_id);

DROP TRIGGER documents_insert;
DROP TRIGGER documents_delete;
DROP TRIGGER documents_update;
DROP TABLE documents_fts;
CREATE VIRTUAL TABLE documents_fts USING fts5 (
    text, scope, content = 'documents', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
);
INSERT INTO documents_fts (documents_fts) VALUES ('rebuild');

-- Vectors hang on embedders by number, and a number is never used again. No release could make vectors before this one.
DROP TABLE embedders;
CREATE TABLE embedders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL UNIQUE,
    dimension INTEGER NOT NULL,
    last_used REAL NOT NULL
) STRICT;
-- Unit vectors, float32, little endian. Disposable: they can be made again from documents.
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    embedder_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    document_id INTEGER NOT NULL,
    embedding BLOB NOT NULL,
    UNIQUE (embedder_id, document_id)
) STRICT;
CREATE INDEX vectors_by_kind ON vectors (embedder_id, kind);
-- Texts that wait for their vector. The triggers write it in the transaction that writes the text, and it is emptied in
-- the one that stores the vector, so no crash can leave a text without vector unnoticed or with the vector of an old text.
CREATE TABLE unembedded (
    embedder_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    document_id INTEGER NOT NULL,
    PRIMARY KEY (embedder_id, kind, document_id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER documents_insert AFTER INSERT ON documents BEGIN
    INSERT INTO documents_fts (rowid, text, scope) VALUES (new.id, new.text, new.scope);
    INSERT INTO unembedded SELECT id, new.kind, new.id FROM embedders;
END;
CREATE TRIGGER documents_delete AFTER DELETE ON documents BEGIN
    INSERT INTO documents_fts (documents_fts, rowid, text, scope) VALUES ('delete', old.id, old.text, old.scope);
    DELETE FROM vectors WHERE document_id = old.id AND embedder_id IN (SELECT id FROM embedders);
    DELETE FROM unembedded WHERE kind = old.kind AND document_id = old.id AND embedder_id IN (SELECT id FROM embedders);
END;
CREATE TRIGGER documents_update AFTER UPDATE ON documents BEGIN
    INSERT INTO documents_fts (documents_fts, rowid, text, scope) VALUES ('delete', old.id, old.text, old.scope);
    INSERT INTO documents_fts (rowid, text, scope) VALUES (new.id, new.text, new.scope);
    DELETE FROM vectors WHERE document_id = old.id AND embedder_id IN (SELECT id FROM embedders);
    DELETE FROM unembedded WHERE kind = old.kind AND document_id = old.id AND embedder_id IN (SELECT id FROM embedders);
    INSERT INTO unembedded SELECT id, new.kind, new.id FROM embedders;
END;
