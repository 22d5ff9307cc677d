-- What was sent of a run, and to whom: a run is sent once only. A line is there
-- before anything is sent; one without an end may or may not have arrived.
CREATE TABLE delivery (
	run      TEXT NOT NULL,
	receiver TEXT NOT NULL,
	begun_ms INTEGER NOT NULL,
	sent_ms  INTEGER,
	PRIMARY KEY (run, receiver)
) STRICT, WITHOUT ROWID;
