package engine

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// SafeText makes foreign text harmless for terminals, logs and reports, and
// loses nothing: control characters, bidirectional overrides and zero-width
// characters become visible as \u{202e}, bytes that are not UTF-8 as \xff.
// Text without any of these is returned as it is. So that no comment commands
// the pipeline whose log shows it, the beginning of what an agent takes for a
// command anywhere in a line, ##vso[ or ##[, becomes \u{23}#.
func SafeText(text string) string {
	if plain(text) || utf8.ValidString(text) && !strings.ContainsFunc(text, unsafeRune) && !strings.Contains(text, "##") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size <= 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unsafeRune(r), r == '#' && LogCommand(text[i:]):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// plain holds for most texts, which need no closer look: ASCII that is seen, and
// no log command.
func plain[T string | []byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '#' {
			return false
		}
	}
	return true
}

// LogCommand reports whether text begins as a command to the agent of a
// pipeline does.
func LogCommand(text string) bool {
	rest, ok := strings.CutPrefix(text, "##")
	if !ok {
		return false
	}
	if len(rest) >= 3 && strings.EqualFold(rest[:3], "vso") {
		rest = rest[3:]
	}
	return strings.HasPrefix(rest, "[")
}

// unsafeRune holds for characters that act instead of being seen. Cf covers
// bidirectional overrides, isolates, zero-width joiners and the byte order
// mark. U+FFFE and U+FFFF are no characters in XML.
func unsafeRune(r rune) bool {
	if r < 0x7f { // most text is plain
		return r < ' '
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || r == 0xFFFE || r == 0xFFFF
}

// SafeLines is SafeText for text of our own that may run over several lines:
// line feeds stay, everything foreign in the lines becomes harmless.
func SafeLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = SafeText(line)
	}
	return strings.Join(lines, "\n")
}

// escaped is what SafeText shows of what is not seen.
var escaped = regexp.MustCompile(`\\u\{([0-9a-f]{1,6})\}|\\x([0-9a-f]{2})`)

// RestoreText is the text of which SafeText made what was shown. A text that held
// such an escape itself cannot be told from one that SafeText made.
func RestoreText(shown string) string {
	if !strings.Contains(shown, `\`) {
		return shown
	}
	return escaped.ReplaceAllStringFunc(shown, func(escape string) string {
		digits := strings.Trim(escape[2:], "{}")
		n, err := strconv.ParseUint(digits, 16, 32)
		switch {
		case err != nil:
			return escape
		case escape[1] == 'x':
			if n < 0x80 {
				return escape
			}
			return string([]byte{byte(n)})
		case unsafeRune(rune(n)) || n == '#':
			return string(rune(n))
		}
		return escape
	})
}

// Clip cuts a text to so many bytes, and marks that it did.
func Clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// EscapeJSON escapes what SafeText makes visible, in JSON that is valid UTF-8:
// characters that would act on a terminal, and the beginning of what an agent
// takes for a command where a pipeline's log shows it. They occur in strings
// only, so that a reader gets the exact text back. White space between values
// is left alone.
func EscapeJSON(text []byte) []byte {
	if plain(text) || !bytes.ContainsFunc(text, escapedRune) && !bytes.Contains(text, []byte("##")) {
		return text
	}
	var b bytes.Buffer
	whole := string(text)
	for i, r := range whole {
		if !escapedRune(r) && (r != '#' || !LogCommand(whole[i:])) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.Bytes()
}

// escapedRune: a line feed can only stand between values.
func escapedRune(r rune) bool { return r != '\n' && unsafeRune(r) }

// Comma is a number for people: 1,234.
func Comma(n int) string {
	if n < 0 {
		return "-" + Comma(-n)
	}
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Plural is a count with its noun: 1 finding, 2 policies.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok && !strings.HasSuffix(stem, "a") {
		return Comma(n) + " " + stem + "ies"
	}
	return Comma(n) + " " + noun + "s"
}

// DidYouMean says what may have been meant by a word that is not among those
// known: the nearest, or else all of them where they are few.
func DidYouMean(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	if len(known) == 0 {
		return "there are none"
	}
	if most := 20; len(known) > most {
		return "want one of " + strings.Join(known[:most], ", ") + ", …"
	}
	return "want one of " + strings.Join(known, ", ")
}

// Nearest is the known word that takes the fewest changes to get to, if those
// are few: a quarter of its letters. Letter case and - for _ count for nothing.
func Nearest(word string, known []string) string {
	plain := strings.NewReplacer("_", "-", " ", "-").Replace
	word = plain(strings.ToLower(strings.TrimSpace(word)))
	best, fewest := "", 0
	for _, candidate := range slices.Sorted(slices.Values(known)) {
		other := plain(strings.ToLower(candidate))
		changes := distance([]rune(word), []rune(other))
		if changes <= max(1, len(other)/4) && changes < max(len(other), 2) && (best == "" || changes < fewest) {
			best, fewest = candidate, changes
		}
	}
	return best
}

// distance is how many letters must be added, taken away, changed, or swapped
// with the next (optimal string alignment).
func distance(a, b []rune) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// Defuse makes foreign text harmless for spreadsheets: what would act becomes
// visible, and what would start a formula gets an apostrophe in front.
func Defuse(text string) string {
	safe := SafeText(text)
	if startsFormula(text) || startsFormula(safe) {
		return "'" + safe
	}
	return safe
}

// DefuseCell does the same where a reader with another delimiter would start a
// cell, too.
func DefuseCell(text string) string {
	text = Defuse(text)
	if !strings.ContainsAny(text, otherDelimiters) {
		return text
	}
	var b strings.Builder
	for {
		i := strings.IndexAny(text, otherDelimiters)
		if i < 0 {
			return b.String() + text
		}
		b.WriteString(text[:i+1])
		text = text[i+1:]
		if startsFormula(strings.TrimLeft(text, "\" ")) {
			b.WriteByte('\'')
		}
	}
}

// otherDelimiters are those that foreign text may still hold: SafeText has made
// tabs visible, and the comma is ours.
const otherDelimiters = ";|"

// triggers start a formula, in plain, small, full-width and raised forms.
const triggers = "=+-@\t\r\n＝＋－＠﹦﹢﹣﹫⁼⁺⁻₌₊₋−"

// startsFormula looks at the first rune that is seen.
func startsFormula(text string) bool {
	for _, r := range text {
		if strings.ContainsRune(triggers, r) {
			return true
		}
		if !ignorable(r) {
			return false
		}
	}
	return false
}

// ignorable holds for runes that a reader might skip in front of a cell's text:
// all that is no letter, number, sign or symbol, such as spaces, controls, marks
// without a base, and characters that nobody has assigned or that are private;
// and fillers, which are called letters.
func ignorable(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) || strings.ContainsRune("\u115f\u1160\u3164\uffa0\u2800", r)
}

// RestoreCell is the text of which DefuseCell made a cell, as SafeText shows it.
func RestoreCell(cell string) string {
	if !strings.Contains(cell, "'") {
		return cell
	}
	var b strings.Builder
	rest, start := cell, true
	for rest != "" {
		if inner, quoted := strings.CutPrefix(rest, "'"); quoted && start && startsFormula(strings.TrimLeft(RestoreText(inner), "\" ")) {
			rest = inner
		}
		start = strings.ContainsAny(rest[:1], otherDelimiters)
		b.WriteByte(rest[0])
		rest = rest[1:]
	}
	return b.String()
}

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
