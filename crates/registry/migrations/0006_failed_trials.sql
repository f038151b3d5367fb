-- Why a recipe failed before it could be judged. Its trial has no losses and no returns; it
-- is a try all the same. NULL for trials that were judged, and for trials of before.
ALTER TABLE trials ADD COLUMN failure TEXT;
