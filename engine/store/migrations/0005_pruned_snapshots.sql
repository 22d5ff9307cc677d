-- What is left of snapshots that were pruned, so that the chain of digests of
-- their workspace can still be verified, and it is known since when versions hold.
CREATE TABLE pruned_snapshot (
	id            INTEGER PRIMARY KEY,
	workspace_key INTEGER NOT NULL REFERENCES workspace (key),
	collected_ms  INTEGER NOT NULL,
	previous      TEXT NOT NULL,
	digest        TEXT NOT NULL,
	pruned_ms     INTEGER NOT NULL
) STRICT;

CREATE INDEX pruned_of_workspace ON pruned_snapshot (workspace_key, id);
