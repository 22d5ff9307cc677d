package engine

import (
	"bytes"
	"fmt"
	"unicode/utf16"
)

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
