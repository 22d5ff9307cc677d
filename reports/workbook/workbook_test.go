package workbook

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"patrol/reports/table"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
)

// written is a workbook as it is read back.
func written(t *testing.T, tabs []string, fill func(*Book) error) *excelize.File {
	t.Helper()
	var packed bytes.Buffer
	if err := Write(t.Context(), &packed, "A test", time.Unix(0, 0), tabs, fill); err != nil {
		t.Fatal(err)
	}
	file, err := excelize.OpenReader(&packed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// numbers is a table of n rows, each of which leads to another.
func numbers(n int, value func(int) any) Sheet[int] {
	rows := func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
	return Sheet[int]{Name: "Numbers", Columns: []table.Column[int]{table.Plain("number", 10, value)}, Rows: rows}
}

// TestLinksAreCapped at what a spreadsheet opens quickly.
func TestLinksAreCapped(t *testing.T) {
	t.Parallel()
	file := written(t, []string{"Numbers"}, func(b *Book) error {
		b.links = 5
		return Add(context.Background(), b, numbers(9, func(i int) any { return Link{i, b.Here()} }))
	})
	for row, want := range map[int]bool{6: true, 7: false} {
		ok, target, err := file.GetCellHyperLink("Numbers", fmt.Sprintf("A%d", row))
		if ok != want || err != nil || ok && target != "'Numbers'!A6" {
			t.Errorf("row %d is a link: %v to %q, %v", row, ok, target, err)
		}
	}
}

// TestTextReadsBack: what XML or a spreadsheet would take for something else is
// text.
func TestTextReadsBack(t *testing.T) {
	t.Parallel()
	texts := []string{"", " a  b ", `<b>&amp;"'`, "_x0041_", "_x0041_x0042_", "__x005F_x0041__", "a_xyz", "_x00", "]]>", "ж🔑"}
	file := written(t, []string{"Numbers"}, func(b *Book) error {
		return Add(context.Background(), b, numbers(len(texts), func(i int) any { return table.Lines{texts[i], "two"} }))
	})
	rows, err := file.GetRows("Numbers")
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"Number"}}
	for _, text := range texts {
		want = append(want, []string{text + "\ntwo"})
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

// TestDatesOutsideOfTheCalendar are text: a spreadsheet shows none before 1900 or
// after 9999.
func TestDatesOutsideOfTheCalendar(t *testing.T) {
	t.Parallel()
	file := written(t, []string{"Dates"}, func(b *Book) error {
		return b.AddBlocks("Dates", []float64{20}, [][]any{{table.Instant(-3e12)}, {table.Instant(86_400_000)}, {table.Instant(3e14)}})
	})
	for cell, want := range map[string]string{"A1": "1874-12-07T18:40:00Z", "A2": "1970-01-02 00:00:00", "A3": "11476-08-15T05:20:00Z"} {
		if got, err := file.GetCellValue("Dates", cell); got != want || err != nil {
			t.Errorf("%s is %q, want %q (%v)", cell, got, want, err)
		}
	}
}

func TestCutCell(t *testing.T) {
	t.Parallel()
	feeds := strings.Repeat("\n", cellLineFeeds)
	for _, test := range []struct {
		name, text string
		cut        bool
	}{
		{"at the limit", strings.Repeat("x", cellUnits), false},
		{"one more", strings.Repeat("x", cellUnits+1), true},
		{"bytes do not count", strings.Repeat("ж", cellUnits), false},
		{"emoji are two units", strings.Repeat("🔑", cellUnits/2), false},
		{"one emoji more", strings.Repeat("🔑", cellUnits/2+1), true},
		{"line feeds at the limit", feeds, false},
		{"one line feed more", feeds + "\n", true},
	} {
		got, cut := cutCell(test.text)
		if cut != test.cut {
			t.Errorf("%s: cut is %v", test.name, cut)
		}
		if !cut && got != test.text {
			t.Errorf("%s: changed, though it fits", test.name)
		}
		if units := len(utf16.Encode([]rune(got))); units > cellUnits || strings.Count(got, "\n") > cellLineFeeds {
			t.Errorf("%s: still %d units", test.name, units)
		}
		if cut && !strings.HasSuffix(got, " characters more]") {
			t.Errorf("%s: no mark at the end: %q", test.name, got[len(got)-40:])
		}
	}
}

func TestFreeTab(t *testing.T) {
	t.Parallel()
	b, err := newBook(t.Context(), t.TempDir(), "A test", time.Time{}, []string{"Summary"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.close() })
	for _, test := range []struct{ name, want string }{
		{"soc2", "soc2"},
		{"a/b:c", "a_b_c"},
		{"Summary", "Summary (2)"},
		{"history", "Framework history"},
		{"'", "Framework"},
		{strings.Repeat("x", 40), strings.Repeat("x", 31)},
		{strings.Repeat("x", 41), strings.Repeat("x", 27) + " (2)"},
	} {
		got := b.FreeTab(test.name)
		if got != test.want {
			t.Errorf("%q: %q, want %q", test.name, got, test.want)
		}
		if _, err := b.file.NewSheet(got); err != nil {
			t.Error(err)
		}
	}
}
