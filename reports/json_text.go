package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf16"

	"patrol/engine"
)

// jsonText encodes a value on one line. Unlike json.Marshal it leaves < > & as
// they are, shows bytes that are no UTF-8 as \xff instead of dropping them, and
// escapes every character that would act on a terminal. A reader gets the
// exact text back.
func jsonText(value any) ([]byte, error) {
	text, err := encode(value)
	if err == nil && bytes.Contains(text, []byte(`\ufffd`)) { // the encoder met bytes that are no UTF-8
		text, err = encode(legible(value))
	}
	if err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return escapeUnseen(text), nil
}

func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// escapeUnseen escapes control and format characters, and the beginning of
// what an agent takes for a command where it is shown in a pipeline's log. They
// occur in strings only, so that a reader sees no difference.
func escapeUnseen(text []byte) []byte {
	if !bytes.ContainsFunc(text, unseen) && !bytes.Contains(text, []byte("##")) {
		return text
	}
	var b bytes.Buffer
	whole := string(text)
	for i, r := range whole {
		if !unseen(r) && (r != '#' || !engine.LogCommand(whole[i:])) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.Bytes()
}

func unseen(r rune) bool {
	if r < 0x7f {
		return r < ' '
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || r == 0xFFFE || r == 0xFFFF
}
