package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGuaranteesNameTestsThatExist holds docs/guarantees.md
// against the tests and stories that it names.
func TestGuaranteesNameTestsThatExist(t *testing.T) {
	root := filepath.Join("..", "..")
	known := namesOfTests(t, root)
	named := regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*|Fuzz[A-Z][A-Za-z0-9]*|[a-z0-9_-]+\\.txtar)`")
	text, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := named.FindAllStringSubmatch(string(text), -1)
	if len(found) < 20 {
		t.Fatalf("the page names %d tests only", len(found))
	}
	for _, match := range found {
		if !known[match[1]] {
			t.Errorf("docs/guarantees.md names %s, which does not exist", match[1])
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
		case strings.HasSuffix(path, ".txtar"):
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
