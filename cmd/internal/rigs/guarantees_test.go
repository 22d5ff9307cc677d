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

// faults is how many rows the matrix has. A fault that somebody finds gets the
// next number.
const faults = 68

// TestFaultMatrix holds docs/fault-matrix.md to tests and stories that exist
// and to one row for each number, which names what drives it or says that
// nothing does.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	text := holdToTests(t, "fault-matrix.md", 100)
	rows := map[int]int{}
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 3 {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(cells[1]))
		if err != nil {
			continue
		}
		rows[n]++
		if len(cells) != 7 || strings.TrimSpace(cells[4]) == "" {
			t.Errorf("row %d has %d cells, want number, fault, what patrol does, exit, driven by", n, len(cells)-2)
			continue
		}
		if by := cells[5]; !namedTest().MatchString(by) && !strings.Contains(by, "not shown: ") {
			t.Errorf("row %d names no test, and does not say why", n)
		}
	}
	for n := 1; n <= faults; n++ {
		if rows[n] != 1 {
			t.Errorf("row %d is there %d times", n, rows[n])
		}
	}
	if len(rows) != faults {
		t.Errorf("%d numbers, want %d", len(rows), faults)
	}
}

// namedTest finds what a page puts in backticks as a test or a story.
func namedTest() *regexp.Regexp {
	return regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*|Fuzz[A-Z][A-Za-z0-9]*|[a-z0-9_-]+\\.txtar)`")
}

// holdToTests wants every test that a page of docs names to exist, and the page
// to name enough of them. It returns the page.
func holdToTests(t *testing.T, page string, enough int) string {
	t.Helper()
	root := moduleRoot(t)
	known := namesOfTests(t, root)
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	found := namedTest().FindAllStringSubmatch(string(text), -1)
	if len(found) < enough {
		t.Fatalf("docs/%s names %d tests only", page, len(found))
	}
	for _, match := range found {
		if !known[match[1]] {
			t.Errorf("docs/%s names %s, which does not exist", page, match[1])
		}
	}
	return string(text)
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
