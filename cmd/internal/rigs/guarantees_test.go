package rigs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// faultMatrix are the rows of docs/fault-matrix.md by number, with the tests
// that testdata/faults.txt names for each: "68 TestA TestB story.txtar".
func faultMatrix(t *testing.T) map[int]pageRow {
	t.Helper()
	rows := map[int]pageRow{}
	for _, line := range pageLines(t, "docs/fault-matrix.md") {
		cells := cellsOf(line)
		if len(cells) == 0 {
			continue
		}
		n, err := strconv.Atoi(cells[0])
		if err != nil {
			continue // a heading
		}
		if _, twice := rows[n]; twice || len(cells) != 4 || cells[3] == "" {
			t.Errorf("row %d of the fault matrix: want it once, with number, fault, what patrol does, exit", n)
		}
		rows[n] = pageRow{claim: "fault " + cells[0]}
	}
	for _, line := range pageLines(t, "testdata/faults.txt") {
		number, tests, _ := strings.Cut(line, " ")
		if line == "" {
			continue
		}
		n, err := strconv.Atoi(number)
		row, known := rows[n]
		if err != nil || !known || row.shownBy != nil || tests == "" {
			t.Errorf("testdata/faults.txt: %q: want the number of a row of docs/fault-matrix.md, once, and its tests", line)
			continue
		}
		row.shownBy = strings.Fields(tests)
		rows[n] = row
	}
	return rows
}

// TestFaultMatrix holds docs/fault-matrix.md to tests and stories that exist.
// Rows are numbered without gaps: a fault that somebody finds gets the next number.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	rows, known := faultMatrix(t), namesOfTests(t, moduleRoot(t))
	if len(rows) < 72 {
		t.Errorf("the fault matrix has %d rows", len(rows))
	}
	for n := 1; n <= len(rows); n++ {
		row, there := rows[n]
		if !there || len(row.shownBy) == 0 {
			t.Errorf("row %d of the fault matrix is missing, or testdata/faults.txt names no test for it", n)
		}
		for _, test := range row.shownBy {
			if !known[test] {
				t.Errorf("testdata/faults.txt names %s for fault %d, which does not exist", test, n)
			}
		}
	}
}

// namesOfTests are those of all Go tests, and the file names of all stories.
func namesOfTests(t *testing.T, root string) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	test := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]*)\(`)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(path, ".txtar") && filepath.Base(filepath.Dir(path)) == "script":
			known[entry.Name()] = true
		case strings.HasSuffix(path, "_test.go"):
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, match := range test.FindAllStringSubmatch(string(content), -1) {
				known[match[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return known
}
