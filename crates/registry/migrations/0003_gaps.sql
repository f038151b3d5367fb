-- A stretch of missing intervals that the gate found in the rows of a pipeline. It is
-- closed, never deleted, when a later run finds rows there; the same stretch missing
-- anew is another record.
CREATE TABLE gaps (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline TEXT NOT NULL,
    instrument TEXT NOT NULL,
    interval TEXT NOT NULL,
    from_time INTEGER NOT NULL,
    to_time INTEGER NOT NULL,
    intervals INTEGER NOT NULL CHECK (intervals > 0),
    first_run TEXT NOT NULL REFERENCES runs (id),
    first_seen INTEGER NOT NULL,
    closed_run TEXT REFERENCES runs (id),
    closed_at INTEGER,
    CHECK (from_time < to_time),
    CHECK ((closed_run IS NULL) = (closed_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX gaps_open ON gaps (pipeline, instrument, interval, from_time, to_time)
    WHERE closed_at IS NULL;
CREATE INDEX gaps_of_instrument ON gaps (instrument, from_time, seq);
CREATE INDEX gaps_of_pipeline ON gaps (pipeline, from_time, seq);

-- Closing is the one change that there is.
CREATE TRIGGER gaps_only_close BEFORE UPDATE ON gaps
WHEN OLD.closed_at IS NOT NULL OR NEW.closed_at IS NULL
    OR (OLD.seq, OLD.pipeline, OLD.instrument, OLD.interval, OLD.from_time, OLD.to_time,
        OLD.intervals, OLD.first_run, OLD.first_seen)
    IS NOT (NEW.seq, NEW.pipeline, NEW.instrument, NEW.interval, NEW.from_time, NEW.to_time,
        NEW.intervals, NEW.first_run, NEW.first_seen)
BEGIN SELECT RAISE(ABORT, 'append-only: gaps'); END;
CREATE TRIGGER gaps_no_delete BEFORE DELETE ON gaps
BEGIN SELECT RAISE(ABORT, 'append-only: gaps'); END;
