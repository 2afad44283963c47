-- How often an answer of a campaign showed a cognition item.
CREATE TABLE retrievals (
    campaign_id INTEGER NOT NULL REFERENCES campaigns (id),
    cognition_id INTEGER NOT NULL REFERENCES cognition (id) ON DELETE CASCADE,
    times INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, cognition_id)
) STRICT, WITHOUT ROWID;

-- Lessons that became cognition items.
CREATE TABLE promotions (
    lesson_id INTEGER PRIMARY KEY REFERENCES lessons (id),
    cognition_id INTEGER NOT NULL REFERENCES cognition (id) ON DELETE CASCADE
) STRICT;
