package engine

import (
	"strconv"
	"strings"
)

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
