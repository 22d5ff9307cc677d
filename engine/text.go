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
	if !hasUnsafe(text) {
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

func hasUnsafe(text string) bool {
	return !utf8.ValidString(text) || strings.ContainsFunc(text, unsafeRune) || strings.Contains(text, "##")
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
	if !bytes.ContainsFunc(text, escapedRune) && !bytes.Contains(text, []byte("##")) {
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
