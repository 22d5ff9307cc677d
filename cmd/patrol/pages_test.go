package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPagesLink: what a page of docs links to is there, heading and all.
func TestPagesLink(t *testing.T) {
	t.Parallel()
	link, code := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`), regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	heading, noise := regexp.MustCompile(`(?m)^#+ (.*)$`), regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	pages, err := filepath.Glob("../../docs/*.md")
	must(t, err)
	for _, page := range append(pages, "../../README.md", "../../SECURITY.md") {
		text, err := os.ReadFile(page)
		must(t, err)
		for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			target := page
			if found[1] != "" {
				target = filepath.Join(filepath.Dir(page), found[1])
			}
			if strings.Contains(found[1], ":") {
				continue
			}
			content, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr != nil || err != nil && !info.IsDir() {
				t.Errorf("%s links to %s, which is not there", page, found[1])
				continue
			}
			there := found[2] == ""
			for _, h := range heading.FindAllStringSubmatch(string(content), -1) {
				there = there || "#"+strings.ReplaceAll(noise.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == found[2]
			}
			if !there {
				t.Errorf("%s links to %s%s, a heading that is not there", page, found[1], found[2])
			}
		}
	}
}
