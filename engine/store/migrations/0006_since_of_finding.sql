-- As of when the first evaluation saw the finding, without one since that came
-- to another verdict. NULL where that is not known: nothing could be judged so
-- far, or the row was stored before this column was. Of what could not be judged
-- this time it is what the verdict before had, kept for the next one.
ALTER TABLE finding ADD COLUMN since_ms INTEGER;
