package engine

import (
	"strings"
	"unicode"
)

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
