package plan

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"patrol/engine"
)

// A plan may have very many steps. Its bytes are made, compared and read step by
// step, so that no second plan is held in another form.

// form is how a plan is laid out as JSON.
type form struct {
	render             func(value any, depth string) []byte
	field              string // a key of the plan and the opening bracket of its list
	before, comma, end string // around the elements of a list
}

// pretty is the form of the file.
func pretty() form {
	return form{render: indented, field: "\n  %q: [", before: "\n    ", comma: ",\n    ", end: "\n  "}
}

// compact is the form that the plan's id is derived from.
func compact() form {
	return form{render: func(value any, _ string) []byte { return engine.CompactJSON(value) }, field: "%q:[", comma: ","}
}

func indented(value any, depth string) []byte {
	var b bytes.Buffer
	// CompactJSON gives valid JSON, which always indents.
	_ = json.Indent(&b, engine.EscapeJSON(engine.CompactJSON(value)), depth, "  ")
	return b.Bytes()
}

// writePlan writes what rendering the whole plan at once would give.
func writePlan(w io.Writer, p engine.Plan, f form) error {
	rest := f.render(shell(p), "")
	rest, err := writeList(w, rest, "steps", p.Steps, f)
	if err != nil {
		return err
	}
	rest, err = writeList(w, rest, "not_planned", p.NotPlanned, f)
	if err != nil {
		return err
	}
	_, err = w.Write(rest)
	return err
}

// shell is a plan without the elements of its long lists.
func shell(p engine.Plan) engine.Plan {
	p.Steps, p.NotPlanned = p.Steps[:0], p.NotPlanned[:0]
	return p
}

// writeList writes the shell up to a list, which is empty there, and its
// elements; it returns the shell's rest. Nothing before the list in a plan has an
// empty list under the same key, and in texts quotes are escaped.
func writeList[T any](w io.Writer, rest []byte, key string, list []T, f form) ([]byte, error) {
	if len(list) == 0 {
		return rest, nil
	}
	field := fmt.Sprintf(f.field, key)
	at := bytes.Index(rest, []byte(field+"]"))
	if at < 0 {
		return nil, fmt.Errorf("write plan: no list %q", key)
	}
	separator := string(rest[:at]) + field + f.before
	for _, element := range list {
		if _, err := io.WriteString(w, separator); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.render(element, "    ")); err != nil {
			return nil, err
		}
		separator = f.comma
	}
	_, err := io.WriteString(w, f.end)
	return rest[at+len(field):], err
}

// isFileOf reports whether content is the plan as patrol writes it.
func isFileOf(p engine.Plan, content []byte) bool {
	c := comparison{rest: content}
	return writePlan(&c, p, pretty()) == nil && writePlanEnd(&c) == nil && len(c.rest) == 0
}

// writePlanEnd ends the file.
func writePlanEnd(w io.Writer) error {
	_, err := io.WriteString(w, "\n")
	return err
}

// comparison takes only the bytes that it knows.
type comparison struct{ rest []byte }

var errDiffers = errors.New("differs")

func (c *comparison) Write(part []byte) (int, error) {
	rest, same := bytes.CutPrefix(c.rest, part)
	if !same {
		return 0, errDiffers
	}
	c.rest = rest
	return len(part), nil
}

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// decodePlan is decodeStrict for a plan, element by element.
func decodePlan(content []byte, p *engine.Plan) error {
	if err := checkText(content); err != nil {
		return err
	}
	decoder := strictDecoder(bytes.NewReader(content))
	if opening, err := decoder.Token(); err != nil || opening != json.Delim('{') {
		return errors.Join(err, errors.New("the file is no JSON object"))
	}
	fields := map[string]json.RawMessage{}
	var steps []engine.Step
	var notPlanned []engine.NotPlanned
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		switch name, _ := key.(string); name {
		case "steps":
			steps, err = decodeList[engine.Step](decoder)
		case "not_planned":
			notPlanned, err = decodeList[engine.NotPlanned](decoder)
		default:
			var value json.RawMessage
			err = decoder.Decode(&value)
			fields[name] = value
		}
		if err != nil {
			return err
		}
	}
	if err := strictDecoder(bytes.NewReader(engine.CompactJSON(fields))).Decode(p); err != nil {
		return err
	}
	p.Steps, p.NotPlanned = steps, notPlanned
	return nil
}

func strictDecoder(r io.Reader) *json.Decoder {
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	return decoder
}

// decodeList decodes a list, or null.
func decodeList[T any](decoder *json.Decoder) ([]T, error) {
	opening, err := decoder.Token()
	if err != nil || opening == nil {
		return nil, err
	}
	if opening != json.Delim('[') {
		return nil, fmt.Errorf("at byte %d: want a list, not %v", decoder.InputOffset(), opening)
	}
	list := []T{}
	for decoder.More() {
		var element T
		if err := decoder.Decode(&element); err != nil {
			return nil, err
		}
		list = append(list, element)
	}
	_, err = decoder.Token()
	return list, err
}

// reread gives a value the very form that reading it from a file gives.
func reread[T any](value T) (same T, err error) {
	decoder := json.NewDecoder(bytes.NewReader(engine.CompactJSON(value)))
	decoder.UseNumber()
	err = decoder.Decode(&same)
	return same, err
}
