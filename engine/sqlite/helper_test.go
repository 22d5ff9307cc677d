package sqlite

import (
	"testing"
	"time"

	"patrol/engine"
)

var small = Schema{Application: 1, Steps: []string{"CREATE TABLE t (a INTEGER) STRICT"}}

func openAndClose(t *testing.T, path string, mode Mode) {
	t.Helper()
	db, err := Open(t.Context(), path, Options{Mode: mode, Now: time.Now, Schema: small})
	must(t, err)
	must(t, db.Close())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantReason(t *testing.T, err error, reason string) {
	t.Helper()
	e, ok := engine.AsError(err)
	if !ok || e.Reason != reason || e.Hint == "" {
		t.Fatalf("got %#v (%v), want reason %s with a hint", err, err, reason)
	}
}
