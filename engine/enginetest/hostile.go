package enginetest

import (
	"cmp"
	"encoding/json"
	"os"
	"strings"
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
