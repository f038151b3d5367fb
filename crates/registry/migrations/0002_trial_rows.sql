-- What identifies the out-of-sample rows of a trial: a hash of decision times and
-- outcomes. Trials on rows of equal hash can be compared period by period (the probability
-- of backtest overfitting). NULL for trials of before.
ALTER TABLE trials ADD COLUMN rows_hash TEXT;
CREATE INDEX trials_on_rows ON trials (instrument, horizon, rows_hash, seq);
