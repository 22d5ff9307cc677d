package exceptions

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
)

// Problem is one mistake in a waivers file.
type Problem struct {
	Path    string
	Line    int
	Key     string // "" where no key is to blame
	Message string
}

func (p Problem) String() string {
	place := fmt.Sprintf("%s:%d: ", p.Path, p.Line)
	if p.Line == 0 {
		place = p.Path + ": "
	}
	if p.Key != "" {
		place += p.Key + ": "
	}
	return place + p.Message
}

// Problems is everything wrong with a file, in the order of its lines.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// err is nil without problems.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &engine.Error{
		Class: engine.ClassUsage, Reason: "waivers", Op: "read waivers",
		Hint: "Correct the places named; docs/waivers.md says what a waiver holds.", Err: ps,
	}
}
