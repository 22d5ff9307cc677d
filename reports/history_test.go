package reports

import (
	"bytes"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/reports/table"
)

// TestHistoryGoesOnBelow: on a screen what does not fit goes on below itself, in
// a file a line is a line.
func TestHistoryGoesOnBelow(t *testing.T) {
	t.Parallel()
	told := []History{{Workspace: "prod", WorkspaceID: "7", TokenID: tokenID(1), Events: []engine.TokenEvent{
		{At: 0, What: "first seen", Detail: "created 1969-12-01"},
		{At: 1000, What: "fail", Detail: "PAT-004 unused for 98 days, limit 90 (still at 1970-01-04T00:00:00Z, 4 evaluations)"},
	}}}
	var screen, file bytes.Buffer
	if err := HistoryTable(&screen, told, table.Options{Width: 80}); err != nil {
		t.Fatal(err)
	}
	if err := HistoryTable(&file, told, table.Options{Width: 80, Whole: true}); err != nil {
		t.Fatal(err)
	}
	want := "  1970-01-01T00:00:01Z  fail        PAT-004 unused for 98 days, limit 90 (still\n" +
		"                                    at 1970-01-04T00:00:00Z, 4 evaluations)\n"
	if got := screen.String(); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := file.String(); !strings.HasSuffix(got, "  fail        "+told[0].Events[1].Detail+"\n") {
		t.Errorf("got\n%s", got)
	}
}
