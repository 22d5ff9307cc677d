package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"patrol/engine/store"

	"github.com/rogpeppe/go-internal/testscript"
)

// digests DATABASE FILE writes workspace and whole digest of each snapshot of
// a database, sorted.
func cmdDigests(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: digests DATABASE FILE")
	}
	db, err := store.Open(context.Background(), ts.MkAbs(args[0]), store.Options{Mode: store.ReadOnly, Now: time.Now})
	ts.Check(err)
	snapshots, err := db.Snapshots(context.Background())
	ts.Check(err)
	ts.Check(db.Close())
	var lines []string
	for _, s := range snapshots {
		lines = append(lines, fmt.Sprintln(s.Workspace.Name, s.Digest))
	}
	slices.Sort(lines)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(lines, "")), 0o600))
}
