package enginetest

import (
	"strings"
	"unicode/utf8"
)

// Acting is the first part of a text that a terminal, a log or the agent of a
// pipeline would act on, or that hides; "" when there is none. It is listed here
// by hand and does not ask what patrol takes for such: a character that patrol
// forgets must not be forgotten by its tests.
func Acting(text string) string {
	if !utf8.ValidString(text) {
		return "bytes that are no UTF-8"
	}
	for i, r := range text {
		switch {
		case r < 0x20, r >= 0x7f && r <= 0x9f, // controls
			r == 0xad, r == 0x61c, r == 0x180e, r == 0xfeff, // soft hyphen, marks, byte order
			r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, // zero width, line ends, directions
			r >= 0xfff9 && r <= 0xfffb, r == 0xe0001, r >= 0xe0020 && r <= 0xe007f: // annotations, tags
			return string(r)
		case r == '#' && commands(strings.ToLower(text[i:])):
			return text[i:min(len(text), i+6)]
		}
	}
	return ""
}

func commands(text string) bool {
	return strings.HasPrefix(text, "##[") || strings.HasPrefix(text, "##vso[")
}
