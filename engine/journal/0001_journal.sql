-- The journal of apply. Times are milliseconds since 1970, UTC.

-- Plans are registered once, as the very bytes that were approved.
CREATE TABLE plan (
	sha           TEXT PRIMARY KEY,
	body          BLOB NOT NULL,
	registered_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE approval (
	plan_sha      TEXT NOT NULL REFERENCES plan (sha),
	sha           TEXT NOT NULL,
	body          BLOB NOT NULL,
	approvers     TEXT, -- JSON array; NULL when none is named
	registered_ms INTEGER NOT NULL,
	PRIMARY KEY (plan_sha, sha)
) STRICT, WITHOUT ROWID;

-- Who may write about a workspace: the run that took the latest epoch.
CREATE TABLE lease (
	workspace_id TEXT PRIMARY KEY,
	epoch        INTEGER NOT NULL,
	host         TEXT NOT NULL,
	pid          INTEGER NOT NULL,
	since_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Where each approved step stands.
CREATE TABLE item (
	plan_sha     TEXT NOT NULL REFERENCES plan (sha),
	item_id      TEXT NOT NULL,
	workspace_id TEXT NOT NULL REFERENCES lease (workspace_id),
	action       TEXT NOT NULL,
	target       TEXT NOT NULL,
	state        TEXT NOT NULL,
	reason       TEXT NOT NULL,
	detail       TEXT NOT NULL,
	attempt      INTEGER NOT NULL,
	epoch        INTEGER NOT NULL,
	http         INTEGER NOT NULL,
	request_id   TEXT NOT NULL,
	observed     TEXT NOT NULL, -- fingerprint before the request
	after        TEXT NOT NULL, -- fingerprint after it
	prior        TEXT,          -- JSON: what an undo restores
	at_ms        INTEGER NOT NULL,
	PRIMARY KEY (plan_sha, item_id)
) STRICT, WITHOUT ROWID;

-- Every transition and every note of a run, each chained to the one before.
CREATE TABLE event (
	seq          INTEGER PRIMARY KEY,
	plan_sha     TEXT NOT NULL,
	item_id      TEXT NOT NULL, -- '' for a note of a run
	workspace_id TEXT NOT NULL,
	from_state   TEXT NOT NULL,
	to_state     TEXT NOT NULL,
	epoch        INTEGER NOT NULL,
	at_ms        INTEGER NOT NULL,
	detail       TEXT NOT NULL, -- JSON
	prev_hash    TEXT NOT NULL,
	hash         TEXT NOT NULL
) STRICT;

CREATE INDEX event_of_plan ON event (plan_sha, seq);

CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER event_is_never_removed BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER plan_is_never_changed BEFORE UPDATE ON plan BEGIN SELECT RAISE(ABORT, 'plans are append-only'); END;
CREATE TRIGGER plan_is_never_removed BEFORE DELETE ON plan BEGIN SELECT RAISE(ABORT, 'plans are append-only'); END;
CREATE TRIGGER item_is_never_removed BEFORE DELETE ON item BEGIN SELECT RAISE(ABORT, 'steps are never removed'); END;
CREATE TRIGGER item_ends_once BEFORE UPDATE ON item
	WHEN OLD.state NOT IN ('pending', 'intent', 'acked', 'unresolved')
	BEGIN SELECT RAISE(ABORT, 'the step has ended'); END;
CREATE TRIGGER item_intends_before_it_acts BEFORE UPDATE ON item
	WHEN NEW.state IN ('acked', 'unresolved', 'done', 'gone_after_intent', 'failed') AND OLD.state = 'pending'
	BEGIN SELECT RAISE(ABORT, 'a step that acts must have said so before'); END;
