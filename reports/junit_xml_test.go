package reports

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"strings"
	"testing"

	"patrol/engine"
)

// TestXMLShowsWhatItCannotHold: each character is in the file as it is, or shown;
// none is lost, and none makes the file unreadable.
func TestXMLShowsWhatItCannotHold(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= 0x10ffff; r = next(r) {
		var b bytes.Buffer
		x := &xmlWriter{bufio.NewWriter(&b)}
		x.text("<a>")
		x.foreign("[" + string(r) + "]")
		x.text("</a>")
		if err := x.Flush(); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("%U: %v", r, err)
		}
		if want := engine.SafeText("[" + string(r) + "]"); got != want || strings.ContainsRune(got, 0xfffd) && r != 0xfffd {
			t.Errorf("%U became %q", r, got)
		}
	}
}

// next goes through all of the characters that have two bytes at most and what
// is special beyond them, and through one of a hundred of the others.
func next(r rune) rune {
	switch {
	case r < 0x800, r >= 0xfff0 && r < 0x10010, r >= 0x2000 && r < 0x2100:
		return r + 1
	case r >= 0xd700 && r < 0xe000: // halves of characters are none
		return 0xe000
	}
	return r + 97
}
