package engine

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
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
