package enginetest

import (
	"cmp"
	"encoding/json"
	"os"
	"strings"
	"unicode/utf8"
)

// HostileText is a text that does harm where it is shown without care.
type HostileText struct {
	Name   string `json:"name"`
	Text   string `json:"text"`
	Base64 []byte `json:"base64"` // in place of Text, where it is no UTF-8
	Repeat int    `json:"repeat"` // so many times
	Secret string `json:"secret"` // part of it that nobody may see
}

// HostileTexts reads testdata/hostile/texts.json, which all tests share, below
// the root of the project. Text is what it comes to, bytes that are no UTF-8
// included.
func HostileTexts(root string) ([]HostileText, error) {
	data, err := os.ReadFile(root + "/testdata/hostile/texts.json")
	if err != nil {
		return nil, err
	}
	var texts []HostileText
	if err := json.Unmarshal(data, &texts); err != nil {
		return nil, err
	}
	for i, t := range texts {
		texts[i].Text = strings.Repeat(cmp.Or(t.Text, string(t.Base64)), max(t.Repeat, 1))
	}
	return texts, nil
}

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
		case r == '#' && (strings.HasPrefix(text[i:], "##[") || strings.HasPrefix(strings.ToLower(text[i:]), "##vso[")):
			return text[i:min(len(text), i+6)]
		}
	}
	return ""
}
