-- Why a score was held, what it is compared with, and the seeds of the repeats: `evolution.models.Quarantine`.
ALTER TABLE experiments ADD COLUMN quarantine_json TEXT;
