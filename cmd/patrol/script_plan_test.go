package main

import (
	"fmt"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/xuri/excelize/v2"
)

// decide FILE ROW DECISION [COMMENT] fills in a row of a reviewers' workbook.
func cmdDecide(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || neg {
		ts.Fatalf("usage: decide FILE ROW DECISION [COMMENT]")
	}
	path := ts.MkAbs(args[0])
	file, err := excelize.OpenFile(path)
	ts.Check(err)
	for i, text := range args[2:] {
		ts.Check(file.SetCellStr("Steps", fmt.Sprintf("%c%s", 'B'+i, args[1]), text))
	}
	ts.Check(file.SaveAs(path))
	ts.Check(file.Close())
}
