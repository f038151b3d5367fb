-- The error rate that the promotions of an instrument and horizon share. It is fixed by the
-- first test that uses it: a rate that is chosen after a result is no rate.
CREATE TABLE promotion_rates (
    instrument TEXT NOT NULL,
    horizon TEXT NOT NULL,
    alpha REAL NOT NULL CHECK (alpha > 0.0 AND alpha < 1.0),
    PRIMARY KEY (instrument, horizon)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER promotion_rates_no_update BEFORE UPDATE ON promotion_rates
BEGIN SELECT RAISE(ABORT, 'append-only: promotion_rates'); END;
CREATE TRIGGER promotion_rates_no_delete BEFORE DELETE ON promotion_rates
BEGIN SELECT RAISE(ABORT, 'append-only: promotion_rates'); END;

-- What a trial was judged under, all four or none: the rate and the coverage decide who is
-- promoted, the interval and the cost which returns can be compared. NULL for trials of before.
ALTER TABLE trials ADD COLUMN interval TEXT;
ALTER TABLE trials ADD COLUMN cost_bp REAL;
ALTER TABLE trials ADD COLUMN alpha REAL;
ALTER TABLE trials ADD COLUMN coverage REAL;

-- The losses of a variance forecast on rows of their own, and what identifies these. NULL
-- where no spread was judged, and for trials of before.
ALTER TABLE trials ADD COLUMN spread_losses BLOB CHECK (length(spread_losses) % 8 = 0);
ALTER TABLE trials ADD COLUMN spread_rows_hash TEXT;
CREATE INDEX trials_on_spread_rows ON trials (instrument, horizon, spread_rows_hash, seq);
