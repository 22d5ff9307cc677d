package main

import "github.com/rogpeppe/go-internal/testscript"

// decide FILE ROW DECISION [COMMENT] fills in a row of a reviewers' workbook.
func cmdDecide(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || neg {
		ts.Fatalf("usage: decide FILE ROW DECISION [COMMENT]")
	}
	fillIn(ts, args[0], "Steps", args[1], args[2:])
}
