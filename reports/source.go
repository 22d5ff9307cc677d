package reports

import (
	"net/url"
	"path"
	"strings"

	"patrol/engine"
)

// place is a line of a policy's text, as a reader of a repository finds it.
type place struct {
	uri  string // relative, escaped
	line int    // from 1
}

// placeOf finds the rule in a policy's file. A finding is about a token, which
// has no file: code scanning asks for one all the same, and the policy is what
// a reader wants to see.
func placeOf(p engine.Policy) place {
	file := p.File
	if file == "" {
		file = strings.ToLower(p.ID) + ".rego"
	}
	return place{escapePath(path.Join(packDir(p.Pack), file)), ruleLine(p.Source)}
}

// packDir is where a pack lies. An absolute path tells more of the machine than
// of the policy: its last part stays.
func packDir(pack string) string {
	switch {
	case pack == "" || pack == "built-in":
		return "policies"
	case path.IsAbs(pack) || strings.HasPrefix(path.Clean(pack), ".."):
		return path.Base(pack)
	}
	return path.Clean(pack)
}

func escapePath(file string) string {
	parts := strings.Split(file, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// ruleLine is the line of the first rule that denies.
func ruleLine(source string) int {
	line := 1
	for text := range strings.SplitSeq(source, "\n") {
		if strings.HasPrefix(text, "deny ") {
			return line
		}
		line++
	}
	return 1
}
