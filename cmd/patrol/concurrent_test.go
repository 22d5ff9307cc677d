package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The race detector makes everything some five to ten times as slow, and sees
// nothing where one thing is done after the other. `make race` therefore runs
// what is concurrent: packages, and stories that are marked.

// TestRaceListIsWhole: every package that starts goroutines, or guards itself
// against those of others, is run by `make race`.
func TestRaceListIsWhole(t *testing.T) {
	t.Parallel()
	line := regexp.MustCompile(`(?m)^CONCURRENT := (.*)$`).FindStringSubmatch(read(t, "Makefile"))
	if line == nil {
		t.Fatal("the Makefile has no list")
	}
	listed := strings.Fields(line[1])
	found := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil || !concurrent(file) {
			return err
		}
		found++
		folder := "./" + strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../../")
		if !slices.Contains(listed, folder) {
			t.Errorf("%s is concurrent, and `make race` does not run %s", path, folder)
		}
		return nil
	})
	if err != nil || found < 10 {
		t.Errorf("%d files looked concurrent: %v", found, err)
	}
}

// concurrent reports whether a file starts goroutines or minds those of others.
func concurrent(file *ast.File) (found bool) {
	for _, spec := range file.Imports {
		switch path, _ := strconv.Unquote(spec.Path.Value); path {
		case "sync", "sync/atomic", "golang.org/x/sync/errgroup", "golang.org/x/sync/singleflight":
			return true
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		_, starts := n.(*ast.GoStmt)
		found = found || starts
		return !found
	})
	return found
}

// concurrentMark is the line of a story that `make race` runs, and why.
const concurrentMark = "\n# concurrent: "

// storyFiles are the stories of this run that hold a text: all, or with -short
// those that are marked.
func storyFiles(t *testing.T, holding string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join("..", "..", "testdata", "script", "*.txtar"))
	if err != nil || len(all) == 0 {
		t.Fatal(err)
	}
	if testing.Short() {
		all = storiesWith(t, all, concurrentMark)
	}
	return storiesWith(t, all, holding)
}

// storiesWith are those that hold what a pattern matches.
func storiesWith(t *testing.T, all []string, pattern string) []string {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(all), func(path string) bool {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return !regexp.MustCompile(pattern).Match(text)
	})
}

// TestConcurrentStories: the marked ones reach whatever a command does at once.
func TestConcurrentStories(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob(filepath.Join("..", "..", "testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	marked := storiesWith(t, all, concurrentMark)
	for _, path := range marked {
		story, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(story)
	}
	for what, words := range map[string]string{
		"workers over tokens":                  `patrol audit`,
		"workspaces side by side":              `--profile \S+ --profile`,
		"an account's workspaces side by side": `patrol audit --account`,
		"a sandbox and its parent":             `--policy`,
		"reads that are tried again":           `"status": (429|50\d)`,
		"apply":                                `patrol apply`,
		"two appliers of one journal":          `patrol apply .*&\n`,
		"serving":                              `patrol simulate|patrol demo`,
		"an interrupt":                         `signals`,
		"two processes on one database":        `patrol collect .*&\n`,
	} {
		if !regexp.MustCompile(words).MatchString(text.String()) {
			t.Errorf("no marked story has %s (%s)", what, words)
		}
	}
	if len(marked) > len(all)/4 {
		t.Errorf("%d of %d stories are marked: does each need the race detector?", len(marked), len(all))
	}
}
