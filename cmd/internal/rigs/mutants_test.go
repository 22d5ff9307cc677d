package rigs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// mutant is a guard taken away: a file of testdata/mutants. Its comment has
// lines of key and value, its sections old and new are whole lines of code.
//
//	guard: what is missing then
//	file:  where it is taken away, from the top of the module
//	test:  package and -run pattern of a test that must fail then (repeatable)
//	shows: a promise of docs/guarantees.md, word by word, or "fault" with the
//	       number of a row of docs/fault-matrix.md (repeatable)
type mutant struct {
	name     string
	guard    string
	file     string
	tests    []mutantTest
	shows    []string
	old, new string
}

// mutantTest is a test by its package and its pattern: TestGates,
// TestGates/clock, TestScripts/apply_gates.
type mutantTest struct{ pkg, run string }

// name is how the pages of docs name the test.
func (m mutantTest) name() string {
	test, story, _ := strings.Cut(m.run, "/")
	if test == "TestScripts" {
		return story + ".txtar"
	}
	return test
}

// pattern takes the names of the test and of its parts to the letter.
func (m mutantTest) pattern() string {
	parts := strings.Split(m.run, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// mutants reads the catalogue, by name.
func mutants(t *testing.T) []mutant {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(moduleRoot(t), "testdata", "mutants", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no catalogue of mutants: %v", err)
	}
	var all []mutant
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := readMutant(archive)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
		m.name = strings.TrimSuffix(filepath.Base(file), ".txtar")
		all = append(all, m)
	}
	return all
}

func readMutant(a *txtar.Archive) (m mutant, err error) {
	for line := range strings.Lines(string(a.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "guard":
			m.guard = value
		case "file":
			m.file = value
		case "test":
			pkg, run, _ := strings.Cut(value, " ")
			m.tests = append(m.tests, mutantTest{pkg, run})
		case "shows":
			m.shows = append(m.shows, value)
		default:
			return m, fmt.Errorf("line %q: want guard, file, test or shows", line)
		}
	}
	if len(a.Files) != 2 || a.Files[0].Name != "old" || a.Files[1].Name != "new" {
		return m, fmt.Errorf("want the sections old and new")
	}
	m.old, m.new = string(a.Files[0].Data), string(a.Files[1].Data)
	if m.guard == "" || m.file == "" || len(m.tests) == 0 || len(m.shows) == 0 || m.old == "" || m.old == m.new {
		return m, fmt.Errorf("want guard, file, test, shows, and code that changes")
	}
	return m, nil
}

// apply is the file with the guard taken away.
func (m mutant) apply(root string) (string, error) {
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
	if err != nil {
		return "", err
	}
	text, old, replacement := "\n"+string(content), "\n"+m.old, "\n"+m.new
	if n := strings.Count(text, old); n != 1 {
		return "", fmt.Errorf("%s holds the lines %d times, want once", m.file, n)
	}
	return strings.Replace(text, old, replacement, 1)[1:], nil
}

// TestMutantCatalogue holds the catalogue to code, tests and pages as they are.
// That its tests fail is shown by TestMutantsAreNoticed, which takes longer.
func TestMutantCatalogue(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	rows := promiseRows(t)
	for _, row := range faultMatrix(t) {
		rows = append(rows, row)
	}
	for _, m := range mutants(t) {
		if _, err := m.apply(root); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		for _, test := range m.tests {
			if !test.exists(t, root) {
				t.Errorf("%s: there is no test %s %s", m.name, test.pkg, test.run)
			}
		}
		for _, claim := range m.shows {
			i := slices.IndexFunc(rows, func(r pageRow) bool { return r.claim == claim })
			if i < 0 {
				t.Errorf("%s: no page has the row %q", m.name, claim)
				continue
			}
			rows[i].guards = append(rows[i].guards, m.guard)
			if shown := rows[i].shownBy; shown != nil && !slices.ContainsFunc(m.tests, func(test mutantTest) bool { return slices.Contains(shown, test.name()) }) {
				t.Errorf("%s: testdata/faults.txt names no test of the mutant for %s", m.name, claim)
			}
		}
	}
	for _, row := range rows {
		if row.shownBy == nil && row.guards == nil {
			t.Errorf("docs/guarantees.md promises %q: add a mutant to testdata/mutants, or take it off the page", row.claim)
		}
	}
}

// exists looks for the function, and of a story for its file.
func (m mutantTest) exists(t *testing.T, root string) bool {
	t.Helper()
	test, story, _ := strings.Cut(m.run, "/")
	if test == "TestScripts" {
		_, err := os.Stat(filepath.Join(root, "testdata", "script", story+".txtar"))
		return err == nil
	}
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(m.pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte("\nfunc "+test+"(")) {
			return true
		}
	}
	return false
}

// pageRow is a promise or a fault; of a fault the tests that make it happen.
type pageRow struct {
	claim   string
	shownBy []string
	guards  []string
}

// pageLines are the lines of a file of the module.
func pageLines(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

// cellsOf are the cells of a row of a table; nil for any other line.
func cellsOf(line string) []string {
	if !strings.HasPrefix(line, "| ") {
		return nil
	}
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

// promiseRows are the promises of docs/guarantees.md.
func promiseRows(t *testing.T) (rows []pageRow) {
	t.Helper()
	for _, line := range pageLines(t, "docs/guarantees.md") {
		if claim, is := strings.CutPrefix(line, "- "); is {
			rows = append(rows, pageRow{claim: claim})
		}
	}
	return rows
}
