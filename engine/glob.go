package engine

import (
	"strings"
	"unicode/utf8"
)

// Glob is a pattern with * (any text) and ? (one character), in any letter
// case. Every other character means itself: names hold brackets and slashes.
type Glob struct {
	Pattern        string // in lower case
	Prefix, suffix string // up to the first wildcard, from the last one on: they tell most texts apart at once
}

// NewGlob prepares a pattern.
func NewGlob(pattern string) Glob {
	g := Glob{Pattern: strings.ToLower(pattern)}
	g.Prefix, g.suffix = g.Pattern, g.Pattern
	if i := strings.IndexAny(g.Pattern, "*?"); i >= 0 {
		g.Prefix, g.suffix = g.Pattern[:i], g.Pattern[strings.LastIndexAny(g.Pattern, "*?")+1:]
	}
	return g
}

// MatchGlob reports whether a text matches a pattern, in any letter case; an
// empty pattern matches all.
func MatchGlob(pattern, text string) bool {
	return pattern == "" || NewGlob(pattern).Matches(strings.ToLower(text))
}

// HasWildcard reports whether a pattern is more than a text.
func HasWildcard(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

// Literal reports whether the pattern is a text without wildcards.
func (g Glob) Literal() bool { return len(g.Prefix) == len(g.Pattern) }

// Matches compares with a text in lower case.
func (g Glob) Matches(text string) bool {
	return strings.HasPrefix(text, g.Prefix) && strings.HasSuffix(text, g.suffix) && g.walk(text)
}

// walk: after a mismatch the last * takes one more character; earlier ones need
// not be tried again.
func (g Glob) walk(text string) bool {
	p, t, star, resume := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(g.Pattern) && g.Pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(g.Pattern) && g.Pattern[p] == '?':
			p++
			t += runeWidth(text[t:])
		case p < len(g.Pattern) && g.Pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			resume += runeWidth(text[resume:])
			p, t = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(g.Pattern[p:], "*") == ""
}

func runeWidth(text string) int {
	_, n := utf8.DecodeRuneInString(text)
	return n
}
