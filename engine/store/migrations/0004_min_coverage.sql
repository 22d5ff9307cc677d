-- The percentage of the expected workspaces that must have been read.
ALTER TABLE evaluation ADD COLUMN min_coverage INTEGER NOT NULL DEFAULT 100;
