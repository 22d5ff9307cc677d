-- Times are milliseconds since 1970, UTC. Lists of strings are JSON arrays.
-- A row of a *_version table holds from snapshot `since` on, up to but without
-- snapshot `until` (NULL: still current), so that what does not change between
-- two snapshots of a workspace is stored once.

CREATE TABLE workspace (
	key          INTEGER PRIMARY KEY,
	workspace_id TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE snapshot (
	id            INTEGER PRIMARY KEY AUTOINCREMENT,
	workspace_key INTEGER NOT NULL REFERENCES workspace (key),
	name          TEXT NOT NULL,
	host          TEXT NOT NULL,
	cloud         TEXT NOT NULL,
	labels        TEXT, -- JSON object; NULL when there are none
	collected_ms  INTEGER NOT NULL,
	tokens        INTEGER NOT NULL,
	previous      TEXT NOT NULL,
	digest        TEXT NOT NULL
) STRICT;

CREATE INDEX snapshot_of_workspace ON snapshot (workspace_key, id);
CREATE INDEX snapshot_by_name ON snapshot (name, id);

-- Documents are stored once, under the SHA-256 of their text.
CREATE TABLE document (
	digest TEXT PRIMARY KEY,
	body   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE section (
	snapshot_id INTEGER NOT NULL REFERENCES snapshot (id),
	name        TEXT NOT NULL,
	status      TEXT NOT NULL,
	reason      TEXT NOT NULL,
	detail      TEXT NOT NULL,
	hint        TEXT NOT NULL,
	count       INTEGER NOT NULL,
	document    TEXT REFERENCES document (digest),
	PRIMARY KEY (snapshot_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE principal_version (
	version       INTEGER PRIMARY KEY,
	workspace_key INTEGER NOT NULL REFERENCES workspace (key),
	principal_id  TEXT NOT NULL,
	since         INTEGER NOT NULL,
	until         INTEGER,
	kind          TEXT NOT NULL,
	name          TEXT NOT NULL,
	display_name  TEXT NOT NULL,
	active        INTEGER, -- 0, 1; NULL: the directory does not say
	admin         INTEGER NOT NULL,
	groups        TEXT, -- NULL: none
	raw           TEXT
) STRICT;

CREATE UNIQUE INDEX principal_at ON principal_version (workspace_key, principal_id, since, until);

-- The raw rows of tokens without what the columns hold of them: control
-- character 1 and a letter stand for a column's value. See shape.go.
CREATE TABLE raw_shape (
	key  INTEGER PRIMARY KEY,
	text TEXT NOT NULL UNIQUE
) STRICT;

-- token_key is the version number of the token's first row: a number for the
-- token that stays the same over all its versions.
CREATE TABLE token_version (
	version         INTEGER PRIMARY KEY,
	token_key       INTEGER NOT NULL,
	workspace_key   INTEGER NOT NULL REFERENCES workspace (key),
	since           INTEGER NOT NULL,
	until           INTEGER,
	created_ms      INTEGER, -- NULL: unknown
	expires_ms      INTEGER, -- -1: never; NULL: unknown
	owner_id        TEXT NOT NULL,
	creator_id      TEXT NOT NULL,
	creator_name    TEXT NOT NULL,
	token_id        TEXT NOT NULL,
	comment         TEXT NOT NULL,
	scopes          TEXT, -- NULL: unrestricted
	autoscope_state TEXT NOT NULL,
	inferred_scopes TEXT,
	backfill_scopes TEXT,
	defects         TEXT, -- field, reason, value, field, reason, value…
	raw_shape       INTEGER REFERENCES raw_shape (key), -- NULL: none, or in raw
	raw             TEXT -- a shape that is not shared
) STRICT;

CREATE UNIQUE INDEX token_at ON token_version (workspace_key, token_id, since, until);

-- Last use moves daily, so it has narrow rows of its own. The row of a token
-- that holds in a snapshot is the last one at or before it.
CREATE TABLE token_use (
	token_key INTEGER NOT NULL,
	since     INTEGER NOT NULL,
	day       INTEGER, -- since 1970; NULL: never used
	ms        INTEGER, -- rest of the day; NULL instead of 0
	PRIMARY KEY (token_key, since)
) STRICT, WITHOUT ROWID;

CREATE TABLE evaluation (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	created_ms INTEGER NOT NULL,
	as_of_ms   INTEGER NOT NULL,
	fail_on    TEXT NOT NULL,
	version    TEXT NOT NULL,
	narrowed   INTEGER NOT NULL,
	exceptions TEXT REFERENCES document (digest) -- NULL: neither waivers nor a baseline
) STRICT;

-- place: rank by name, then id, so that findings sort by it.
CREATE TABLE evaluation_workspace (
	evaluation_id INTEGER NOT NULL REFERENCES evaluation (id),
	place         INTEGER NOT NULL,
	snapshot_id   INTEGER NOT NULL REFERENCES snapshot (id),
	PRIMARY KEY (evaluation_id, place)
) STRICT, WITHOUT ROWID;

-- place: rank by id.
CREATE TABLE evaluation_policy (
	evaluation_id INTEGER NOT NULL REFERENCES evaluation (id),
	place         INTEGER NOT NULL,
	policy_id     TEXT NOT NULL,
	document      TEXT NOT NULL REFERENCES document (digest),
	PRIMARY KEY (evaluation_id, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE tally (
	evaluation_id INTEGER NOT NULL REFERENCES evaluation (id),
	workspace     INTEGER NOT NULL, -- place
	policy        INTEGER NOT NULL, -- place
	status        TEXT NOT NULL,
	count         INTEGER NOT NULL,
	PRIMARY KEY (evaluation_id, workspace, policy, status)
) STRICT, WITHOUT ROWID;

-- title, severity and remedy are NULL where they are the policy's.
CREATE TABLE finding (
	evaluation_id INTEGER NOT NULL REFERENCES evaluation (id),
	rank          INTEGER NOT NULL, -- of the severity
	policy        INTEGER NOT NULL, -- place
	workspace     INTEGER NOT NULL, -- place
	resource      TEXT NOT NULL,
	token_version INTEGER NOT NULL, -- 0 where resource_id tells the resource
	resource_id   TEXT NOT NULL,    -- '' where token_version tells the resource
	status        TEXT NOT NULL,
	title         TEXT,
	severity      TEXT,
	remedy        TEXT,
	owner         TEXT NOT NULL,
	message       TEXT NOT NULL,
	evidence      TEXT, -- JSON object
	fingerprint   ANY NOT NULL, -- 32 bytes for 64 hexadecimal digits, else text
	waiver        TEXT, -- JSON object
	PRIMARY KEY (evaluation_id, rank, policy, workspace, resource, token_version, resource_id)
) STRICT, WITHOUT ROWID;
