package store

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// decodeExact reads JSON without losing digits.
func decodeExact(text string, target any) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(target)
}

// exact turns the numbers of a decoded value into int64 where they are whole
// and fit, and leaves them as json.Number, with every digit, where not.
func exact(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = exact(v[key])
		}
	}
	return value
}

func decodePolicy(text string) (engine.Policy, error) {
	var p engine.Policy
	if err := decodeExact(text, &p); err != nil {
		return p, fmt.Errorf("stored policy is damaged: %w", err)
	}
	for i := range p.Params {
		p.Params[i].Default = exact(p.Params[i].Default)
		p.Params[i].Value = exact(p.Params[i].Value)
	}
	for i := range p.Overrides {
		p.Overrides[i].Value = exact(p.Overrides[i].Value)
	}
	return p, nil
}

// encodeDetails makes the JSON of what a finding rests on.
func encodeDetails(f engine.Finding) (evidence, waiver any, err error) {
	if f.Evidence != nil {
		if evidence, err = encodeJSON(f.Evidence); err != nil {
			return nil, nil, err
		}
	}
	if f.Waiver != nil {
		waiver, err = encodeJSON(f.Waiver)
	}
	return evidence, waiver, err
}

func encodeJSON(value any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func decodeDetails(f *engine.Finding, evidence, waiver string) error {
	if evidence != "" {
		if err := decodeExact(evidence, &f.Evidence); err != nil {
			return fmt.Errorf("stored evidence is damaged: %w", err)
		}
		exact(f.Evidence)
	}
	if waiver != "" {
		if err := decodeExact(waiver, &f.Waiver); err != nil {
			return fmt.Errorf("stored waiver is damaged: %w", err)
		}
	}
	return nil
}

// encodeFingerprint halves the usual fingerprint: hexadecimal digits become bytes.
func encodeFingerprint(text string) any {
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != 32 || hex.EncodeToString(sum) != text {
		return text
	}
	return sum
}

func decodeFingerprint(c *sqlite.Row) string {
	switch v := c.Value().(type) {
	case []byte:
		return hex.EncodeToString(v)
	case string:
		return v
	}
	c.Err = errors.New("stored fingerprint is damaged")
	return ""
}
