package reports

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/reports/table"
)

// TestWhatIfInEveryFormat: a report of what would be says so wherever people
// read, by name; one of what is never does.
func TestWhatIfInEveryFormat(t *testing.T) {
	t.Parallel()
	terminal := Format{Name: "terminal", Write: func(ctx context.Context, w io.Writer, r engine.Report) error {
		return Table(ctx, w, r, TableOptions{Options: table.Options{Width: 200}})
	}}
	for _, format := range append(Formats(), terminal) {
		t.Run(format.Name, func(t *testing.T) {
			for _, name := range []string{"", "stricter pack", "stricter pack\x1b]0;<b>\n"} {
				r := report()
				r.WhatIf = name
				var b bytes.Buffer
				if err := format.Write(t.Context(), &b, r); err != nil {
					t.Fatal(err)
				}
				text := b.String()
				if format.Name == "xlsx" {
					text = string(dumpWorkbook(t, b.Bytes()))
				}
				told := strings.Contains(strings.NewReplacer("_", " ", "&#58;", ":").Replace(strings.ToLower(text)), "what if")
				if want := name != ""; told != want || strings.Contains(text, "stricter pack") != want {
					t.Errorf("what if %q: said: %v, want %v", name, told, want)
				}
				if format.Name == "xlsx" && name != "" && strings.Count(text, "WHAT IF: ") != 2 {
					t.Error("cover and summary do not both say it")
				}
				if strings.Contains(text, "\x1b") || strings.Contains(text, "]0;<b>") && (format.Name == "html" || format.Name == "junit" || format.Name == "markdown") {
					t.Errorf("the name %q acts", name)
				}
			}
		})
	}
}

// TestWhatIfIsNotWhatIs: readers that know findings by ids and categories do
// not take what would be for what is, and it is sound by their schemas.
func TestWhatIfIsNotWhatIs(t *testing.T) {
	t.Parallel()
	is, would := report(), report()
	would.WhatIf = "stricter [pack]"
	if a, b := writtenOSCAL(t, is), writtenOSCAL(t, would); a.UUID == b.UUID {
		t.Error("OSCAL gives both one id")
	}
	limits := codeScanning()
	limits.results = 3
	for i, run := range writtenSARIF(t, would, limits).Runs[:2] {
		if want := []string{"patrol-what-if/", "patrol-what-if-2/"}[i]; *run.AutomationDetails.ID != want {
			t.Errorf("SARIF has category %q, want %q", *run.AutomationDetails.ID, want)
		}
	}
	writtenOCSF(t, would)
	if strings.Contains(strings.Join(nextSteps(would), " "), "patrol plan") {
		t.Error("what would be is offered for a plan")
	}
}
