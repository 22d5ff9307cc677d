package reports

import (
	"bytes"
	"encoding/json"
	"fmt"

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
	return engine.EscapeJSON(text), nil
}

func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
