-- How the digest of a snapshot was made: digest.go knows each way that ever was.
ALTER TABLE snapshot ADD COLUMN digest_version INTEGER NOT NULL DEFAULT 1;

-- The name of an evaluation that says what would be; '' for one of what is.
ALTER TABLE evaluation ADD COLUMN what_if TEXT NOT NULL DEFAULT '';

-- Over everything of the evaluation, its findings and the digests of its
-- snapshots. Evaluations of before are sealed by the upgrade to this schema.
ALTER TABLE evaluation ADD COLUMN digest TEXT;

-- Plans that apply began: a journal that does not know one of them is not the
-- journal that it was.
CREATE TABLE applied_plan (
	plan_sha TEXT PRIMARY KEY,
	journal  TEXT NOT NULL,
	begun_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
