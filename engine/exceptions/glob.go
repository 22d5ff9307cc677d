package exceptions

import (
	"strings"
	"unicode/utf8"
)

// glob is a pattern with * (any text) and ? (one character), in any letter
// case. Every other character means itself: names hold brackets and slashes.
type glob struct {
	pattern        string
	prefix, suffix string // up to the first wildcard, from the last one on: they tell most texts apart at once
}

func newGlob(pattern string) glob {
	g := glob{pattern: strings.ToLower(pattern)}
	g.prefix, g.suffix = g.pattern, g.pattern
	if i := strings.IndexAny(g.pattern, "*?"); i >= 0 {
		g.prefix, g.suffix = g.pattern[:i], g.pattern[strings.LastIndexAny(g.pattern, "*?")+1:]
	}
	return g
}

func hasWildcard(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

// literal reports whether the pattern is a text without wildcards.
func (g glob) literal() bool { return len(g.prefix) == len(g.pattern) }

// matches compares with a text in lower case.
func (g *glob) matches(text string) bool {
	return strings.HasPrefix(text, g.prefix) && strings.HasSuffix(text, g.suffix) && g.walk(text)
}

// walk: after a mismatch the last * takes one more character; earlier ones need
// not be tried again.
func (g *glob) walk(text string) bool {
	p, t, star, resume := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(g.pattern) && g.pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(g.pattern) && g.pattern[p] == '?':
			p++
			t += width(text[t:])
		case p < len(g.pattern) && g.pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			resume += width(text[resume:])
			p, t = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(g.pattern[p:], "*") == ""
}

func width(text string) int {
	_, n := utf8.DecodeRuneInString(text)
	return n
}
