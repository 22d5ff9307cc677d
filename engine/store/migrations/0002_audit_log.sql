-- What an imported audit log tells of each token, for the snapshot that it was
-- imported with. Two logs share few rows, so that versions would save nothing.
CREATE TABLE token_activity (
	snapshot_id     INTEGER NOT NULL REFERENCES snapshot (id),
	token_id        TEXT NOT NULL,
	events          INTEGER NOT NULL,
	first_ms        INTEGER NOT NULL,
	last_ms         INTEGER NOT NULL,
	max_ips_per_day INTEGER NOT NULL,
	user_agents     TEXT, -- NULL: none
	PRIMARY KEY (snapshot_id, token_id)
) STRICT, WITHOUT ROWID;
