package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a file.
type Problem struct {
	File    string
	Line    int    // 0 where no line is to blame
	Key     string // "" where no key is to blame
	Message string
}

// Place is the file and the line.
func (p Problem) Place() string { return place(p.File, p.Line) }

func (p Problem) String() string {
	if p.Key == "" {
		return p.Place() + ": " + p.Message
	}
	return p.Place() + ": " + p.Key + ": " + p.Message
}

func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
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

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
}
