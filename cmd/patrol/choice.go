package main

import (
	"fmt"
	"slices"
	"strings"
)

// choice is a flag that holds one of a few words.
type choice struct {
	word string
	of   []string
}

// oneOf is a choice of words, the first of which is the default.
func oneOf(words ...string) choice { return choice{word: words[0], of: words} }

func (c *choice) String() string { return c.word }

func (c *choice) Set(text string) error {
	if !slices.Contains(c.of, text) {
		return fmt.Errorf("unknown format %q: want one of %s", text, strings.Join(c.of, ", "))
	}
	c.word = text
	return nil
}

func (c *choice) Type() string { return "format" }

// Leaves reports whether a value of the environment or the configuration
// is meant for the reports, whose flag has the same name: formats of reports,
// of which this command has none. It then keeps its default.
func (c *choice) Leaves(text string) bool {
	for name := range strings.SplitSeq(text, ",") {
		if !slices.Contains(formatNames(), strings.TrimSpace(name)) {
			return false
		}
	}
	return !slices.Contains(c.of, text)
}
