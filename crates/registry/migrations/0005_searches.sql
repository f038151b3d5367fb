-- A search for settings inside a fit: which recipe of which run made it, in which fold of the
-- walk-forward evaluation (from 1; 0 is the final refit). Runs that fit the same rows the same
-- way share its trials, which are named by the study.
CREATE TABLE searches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL REFERENCES runs (id),
    recipe_name TEXT NOT NULL,
    recipe_hash TEXT NOT NULL,
    -- Kind of the model whose settings were searched for.
    kind TEXT NOT NULL,
    fold INTEGER NOT NULL CHECK (fold >= 0),
    study TEXT NOT NULL,
    rows_hash TEXT NOT NULL,
    judged INTEGER NOT NULL,
    splits INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (run_id, recipe_hash, fold, study)
) STRICT;
CREATE INDEX searches_of_study ON searches (study);
CREATE TRIGGER searches_no_update BEFORE UPDATE ON searches
BEGIN SELECT RAISE(ABORT, 'append-only: searches'); END;
CREATE TRIGGER searches_no_delete BEFORE DELETE ON searches
BEGIN SELECT RAISE(ABORT, 'append-only: searches'); END;

-- One trial of a search, whatever became of it. Its id is the hash of its content: the same
-- trial of the same study is one record, however often it is run.
CREATE TABLE search_trials (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    study TEXT NOT NULL,
    rows_hash TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 0),
    state TEXT NOT NULL CHECK (state IN ('complete', 'pruned', 'failed')),
    settings_json TEXT NOT NULL,
    steps BLOB NOT NULL CHECK (length(steps) % 8 = 0),
    losses BLOB NOT NULL CHECK (length(losses) % 8 = 0),
    returns BLOB NOT NULL CHECK (length(returns) % 8 = 0),
    error TEXT,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX search_trials_of_study ON search_trials (study, number);
CREATE INDEX search_trials_on_rows ON search_trials (rows_hash);
CREATE TRIGGER search_trials_no_update BEFORE UPDATE ON search_trials
BEGIN SELECT RAISE(ABORT, 'append-only: search_trials'); END;
CREATE TRIGGER search_trials_no_delete BEFORE DELETE ON search_trials
BEGIN SELECT RAISE(ABORT, 'append-only: search_trials'); END;
