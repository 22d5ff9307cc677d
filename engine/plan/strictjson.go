package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// decodeStrict decodes JSON that has one meaning only. encoding/json takes the
// last of two equal keys, takes TOKEN_ID for token_id, replaces bytes that are
// not UTF-8 and stops at the end of the first value: what one program approves
// another could read differently. All of that is an error here, and unknown
// fields are as well. Numbers stay as they are written.
func decodeStrict(content []byte, into any) error {
	if err := checkText(content); err != nil {
		return err
	}
	return strictDecoder(bytes.NewReader(content)).Decode(into)
}

func checkText(content []byte) error {
	if !utf8.Valid(content) {
		return errors.New("the file is not UTF-8")
	}
	return checkKeys(content)
}

// maxDepth bounds nesting far beyond any plan.
const maxDepth = 64

// checkKeys walks the tokens of exactly one JSON value.
func checkKeys(content []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	if err := walk(decoder, 0); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the end of the value")
	}
	return nil
}

func walk(decoder *json.Decoder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return walkObject(decoder, depth)
	case json.Delim('['):
		for decoder.More() {
			if err := walk(decoder, depth+1); err != nil {
				return err
			}
		}
		_, err := decoder.Token()
		return err
	}
	return nil
}

// walkObject refuses keys that differ in letter case only: encoding/json would
// take either for the same field.
func walkObject(decoder *json.Decoder, depth int) error {
	seen := map[string]string{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		folded := foldKey(key)
		if before, twice := seen[folded]; twice {
			return fmt.Errorf("keys %q and %q at byte %d count as the same", before, key, decoder.InputOffset())
		}
		seen[folded] = key
		if err := walk(decoder, depth+1); err != nil {
			return err
		}
	}
	_, err := decoder.Token()
	return err
}

// foldKey maps keys that strings.EqualFold holds for equal to one text.
func foldKey(key string) string { return strings.ToLower(strings.ToUpper(key)) }
