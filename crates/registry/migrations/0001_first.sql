-- Times are microseconds since 1970-01-01T00:00:00Z, fingerprints 64 hexadecimal
-- digits, intervals text such as '1h', series of numbers little-endian f64.
-- A NaN cannot be stored as REAL: it is kept as NULL and read back as NaN.

CREATE TABLE runs (
    id TEXT PRIMARY KEY NOT NULL,
    pipeline TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    config_json TEXT NOT NULL CHECK (json_valid(config_json)),
    error TEXT
) STRICT;
CREATE INDEX runs_newest ON runs (started_at, id);
CREATE INDEX runs_of_pipeline ON runs (pipeline, started_at, id);
CREATE INDEX runs_by_status ON runs (status, started_at, id);

CREATE TABLE steps (
    run_id TEXT NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    status TEXT NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    detail_json TEXT NOT NULL CHECK (json_valid(detail_json)),
    PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE params (
    run_id TEXT NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE metrics (
    run_id TEXT NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    step INTEGER NOT NULL,
    value REAL,
    PRIMARY KEY (run_id, name, step)
) STRICT, WITHOUT ROWID;

-- An artefact lies either in a file of the data directory (a relative path) or in
-- the lake under its content hash.
CREATE TABLE artifacts (
    run_id TEXT NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    path TEXT,
    fingerprint TEXT,
    PRIMARY KEY (run_id, name),
    CHECK ((path IS NULL) <> (fingerprint IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE datasets (
    fingerprint TEXT PRIMARY KEY NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    instrument TEXT NOT NULL,
    interval TEXT NOT NULL,
    horizon TEXT NOT NULL,
    feature_set TEXT NOT NULL,
    row_count INTEGER NOT NULL CHECK (row_count >= 0),
    from_time INTEGER NOT NULL,
    to_time INTEGER NOT NULL,
    known_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX datasets_newest ON datasets (created_at, fingerprint);

-- The table versions that a dataset was made from; a vacuum must keep them.
CREATE TABLE snapshots (
    dataset TEXT NOT NULL REFERENCES datasets (fingerprint),
    layer TEXT NOT NULL,
    table_name TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 0),
    PRIMARY KEY (dataset, layer, table_name, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshots_of_table ON snapshots (layer, table_name, version);

CREATE TABLE model_versions (
    name TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    run_id TEXT NOT NULL REFERENCES runs (id),
    spec_json TEXT NOT NULL CHECK (json_valid(spec_json)),
    hash TEXT NOT NULL,
    artifact TEXT NOT NULL,
    dataset TEXT NOT NULL REFERENCES datasets (fingerprint),
    feature_set TEXT NOT NULL,
    fitted_as_of INTEGER NOT NULL,
    train_from INTEGER NOT NULL,
    train_to INTEGER NOT NULL,
    calibration_json TEXT NOT NULL CHECK (json_valid(calibration_json)),
    evaluation_json TEXT NOT NULL CHECK (json_valid(evaluation_json)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (name, version),
    UNIQUE (name, run_id, hash)
) STRICT;
CREATE INDEX model_versions_newest ON model_versions (created_at, name, version);

-- The calibration of a version moves on with every outcome; earlier states stay,
-- so that a forecast can be verified with the state it was made with.
CREATE TABLE calibrations (
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    as_of INTEGER NOT NULL,
    state_json TEXT NOT NULL CHECK (json_valid(state_json)),
    PRIMARY KEY (model, version, as_of),
    FOREIGN KEY (model, version) REFERENCES model_versions (name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE aliases (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES model_versions (name, version)
) STRICT, WITHOUT ROWID;

-- Every change of an alias; `version` is NULL when the alias was taken away.
CREATE TABLE alias_changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    version INTEGER,
    at INTEGER NOT NULL,
    audit_event INTEGER NOT NULL REFERENCES audit_events (seq)
) STRICT;
CREATE INDEX alias_changes_of ON alias_changes (model, alias, seq);

CREATE TABLE forecasts (
    id TEXT PRIMARY KEY NOT NULL,
    instrument TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    alias TEXT NOT NULL,
    as_of INTEGER NOT NULL,
    target_time INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    horizon TEXT NOT NULL,
    body_json TEXT NOT NULL CHECK (json_valid(body_json)),
    feature_row_hash TEXT NOT NULL,
    FOREIGN KEY (model, version) REFERENCES model_versions (name, version)
) STRICT;
CREATE INDEX forecasts_newest ON forecasts (as_of, id);
CREATE INDEX forecasts_of ON forecasts (instrument, horizon, alias, as_of, made_at, id);
CREATE INDEX forecasts_of_version ON forecasts (model, version, as_of, id);
CREATE INDEX forecasts_by_target ON forecasts (target_time, id);

-- A corrected outcome is another row with a later `known_at`, never an overwrite.
CREATE TABLE outcomes (
    forecast_id TEXT NOT NULL REFERENCES forecasts (id),
    known_at INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (forecast_id, known_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE lock_boxes (
    instrument TEXT NOT NULL,
    horizon TEXT NOT NULL,
    from_time INTEGER NOT NULL,
    to_time INTEGER NOT NULL,
    PRIMARY KEY (instrument, horizon),
    CHECK (from_time < to_time)
) STRICT, WITHOUT ROWID;

CREATE TABLE lock_box_openings (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    instrument TEXT NOT NULL,
    horizon TEXT NOT NULL,
    recipe_hash TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    UNIQUE (instrument, horizon, recipe_hash),
    FOREIGN KEY (instrument, horizon) REFERENCES lock_boxes (instrument, horizon)
) STRICT;

-- Apart from the opening, which is written before the box is read: a crash in
-- between must not allow a second look.
CREATE TABLE lock_box_results (
    opening INTEGER PRIMARY KEY REFERENCES lock_box_openings (seq),
    result_json TEXT NOT NULL CHECK (json_valid(result_json))
) STRICT;

-- `family` is one hash for all recipes judged together and all their losses: the
-- same test made again has the same one and is counted once.
CREATE TABLE trials (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    family TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    pipeline TEXT NOT NULL,
    instrument TEXT NOT NULL,
    horizon TEXT NOT NULL,
    recipe_name TEXT NOT NULL,
    recipe_hash TEXT NOT NULL,
    p_value REAL,
    alpha_spent REAL NOT NULL,
    losses BLOB NOT NULL CHECK (length(losses) % 8 = 0),
    returns BLOB NOT NULL CHECK (length(returns) % 8 = 0),
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX trials_of ON trials (instrument, horizon, seq);
CREATE INDEX trials_of_run ON trials (run_id, seq);
CREATE INDEX trials_of_family ON trials (family, seq);

CREATE TABLE audit_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail_json TEXT NOT NULL CHECK (json_valid(detail_json))
) STRICT;
CREATE INDEX audit_events_of ON audit_events (subject, seq);

-- What has been written here is never changed: not by a bug, not by hand through
-- this connection.
CREATE TRIGGER trials_no_update BEFORE UPDATE ON trials
BEGIN SELECT RAISE(ABORT, 'append-only: trials'); END;
CREATE TRIGGER trials_no_delete BEFORE DELETE ON trials
BEGIN SELECT RAISE(ABORT, 'append-only: trials'); END;
CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events
BEGIN SELECT RAISE(ABORT, 'append-only: audit_events'); END;
CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'append-only: audit_events'); END;
CREATE TRIGGER alias_changes_no_update BEFORE UPDATE ON alias_changes
BEGIN SELECT RAISE(ABORT, 'append-only: alias_changes'); END;
CREATE TRIGGER alias_changes_no_delete BEFORE DELETE ON alias_changes
BEGIN SELECT RAISE(ABORT, 'append-only: alias_changes'); END;
CREATE TRIGGER lock_box_openings_no_update BEFORE UPDATE ON lock_box_openings
BEGIN SELECT RAISE(ABORT, 'append-only: lock_box_openings'); END;
CREATE TRIGGER lock_box_openings_no_delete BEFORE DELETE ON lock_box_openings
BEGIN SELECT RAISE(ABORT, 'append-only: lock_box_openings'); END;
CREATE TRIGGER lock_box_results_no_update BEFORE UPDATE ON lock_box_results
BEGIN SELECT RAISE(ABORT, 'append-only: lock_box_results'); END;
CREATE TRIGGER lock_box_results_no_delete BEFORE DELETE ON lock_box_results
BEGIN SELECT RAISE(ABORT, 'append-only: lock_box_results'); END;
CREATE TRIGGER lock_boxes_no_update BEFORE UPDATE ON lock_boxes
BEGIN SELECT RAISE(ABORT, 'append-only: lock_boxes'); END;
CREATE TRIGGER lock_boxes_no_delete BEFORE DELETE ON lock_boxes
BEGIN SELECT RAISE(ABORT, 'append-only: lock_boxes'); END;
