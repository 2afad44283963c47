-- What the run of a job told last; it goes with the job.
ALTER TABLE jobs ADD COLUMN progress_json TEXT;

-- What the runs that told anything told, thinned out: evolution.progress.Progress.
CREATE TABLE progress (
    evaluation_id INTEGER PRIMARY KEY REFERENCES evaluations (id),
    progress_json TEXT NOT NULL
) STRICT;
