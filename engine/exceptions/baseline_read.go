package exceptions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"patrol/engine"
)

// Baseline is a baseline.
type Baseline struct {
	AsOf    string
	Version string
	Entries []engine.BaselineEntry // in the order of the file

	index map[string]int // fingerprint → entry
}

var fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// ParseBaseline reads a baseline strictly: an entry that nobody understands would
// excuse nothing, or something else than was meant.
func ParseBaseline(path string, text []byte) (*Baseline, error) {
	r := baselineReader{text: text, json: json.NewDecoder(bytes.NewReader(text)), seen: map[string]bool{}, words: map[string]string{}}
	r.json.DisallowUnknownFields()
	r.file.index = map[string]int{}
	if err := r.read(); err != nil {
		return nil, r.explain(path, err)
	}
	return &r.file, nil
}

// baselineReader decodes one value after the other, so that an error has its line.
type baselineReader struct {
	text  []byte
	json  *json.Decoder
	at    int64 // where the value being read begins
	seen  map[string]bool
	words map[string]string // the few names that all entries share
	file  Baseline
}

// errNewer is a file of a later version of patrol.
var errNewer = errors.New("is newer than this patrol")

func (r *baselineReader) read() error {
	if err := r.delimiter('{', "an object with schema, version, as_of and findings"); err != nil {
		return err
	}
	for r.more() {
		if err := r.member(); err != nil {
			return err
		}
	}
	if err := r.delimiter('}', "a member or }"); err != nil {
		return err
	}
	r.more()
	if _, err := r.json.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the baseline")
	}
	for _, key := range []string{"schema", "version", "as_of", "findings"} {
		if !r.seen[key] {
			return fmt.Errorf("%s is missing", key)
		}
	}
	return nil
}

// more reports whether the list or object goes on, and notes where.
func (r *baselineReader) more() bool {
	more := r.json.More()
	r.at = r.json.InputOffset()
	for r.at < int64(len(r.text)) && bytes.IndexByte([]byte(" \t\r\n,"), r.text[r.at]) >= 0 {
		r.at++
	}
	return more
}

func (r *baselineReader) delimiter(want json.Delim, meaning string) error {
	got, err := r.json.Token()
	if err == nil && got != want {
		err = errors.New("want " + meaning)
	}
	return err
}

func (r *baselineReader) member() error {
	token, err := r.json.Token()
	if err != nil {
		return err
	}
	key, _ := token.(string)
	if r.seen[key] {
		return fmt.Errorf("%s is there twice", key)
	}
	r.seen[key] = true
	switch key {
	case "schema":
		return r.schema()
	case "version":
		return r.json.Decode(&r.file.Version)
	case "as_of":
		if err := r.json.Decode(&r.file.AsOf); err != nil {
			return err
		}
		_, err := time.Parse(time.RFC3339, r.file.AsOf)
		return err
	case "findings":
		return r.findings()
	}
	return fmt.Errorf("unknown key %q: want schema, version, as_of, findings", key)
}

func (r *baselineReader) schema() error {
	var n int
	if err := r.json.Decode(&n); err != nil {
		return err
	}
	if n > schema {
		return fmt.Errorf("schema %d %w", n, errNewer)
	}
	if n < schema {
		return fmt.Errorf("schema %d: want %d", n, schema)
	}
	return nil
}

func (r *baselineReader) findings() error {
	if err := r.delimiter('[', "a list of findings"); err != nil {
		return err
	}
	for r.more() {
		var e engine.BaselineEntry
		if err := r.json.Decode(&e); err != nil {
			return err
		}
		if err := r.add(e); err != nil {
			return err
		}
	}
	return r.delimiter(']', "a finding or ]")
}

func (r *baselineReader) add(e engine.BaselineEntry) error {
	if !fingerprintPattern.MatchString(e.Fingerprint) {
		return fmt.Errorf("fingerprint %q: want 32 hexadecimal digits", e.Fingerprint)
	}
	if _, err := engine.ParseSeverity(string(e.Severity)); err != nil {
		return err
	}
	if e.Policy == "" || e.WorkspaceID == "" || e.Resource == "" || e.ResourceID == "" {
		return errors.New("want policy, workspace_id, resource and resource_id in each finding")
	}
	if _, taken := r.file.index[e.Fingerprint]; taken {
		return fmt.Errorf("fingerprint %s is there twice", e.Fingerprint)
	}
	e.Policy, e.Workspace, e.WorkspaceID = r.word(e.Policy), r.word(e.Workspace), r.word(e.WorkspaceID)
	e.Severity, e.Resource = engine.Severity(r.word(string(e.Severity))), engine.Resource(r.word(string(e.Resource)))
	r.file.index[e.Fingerprint] = len(r.file.Entries)
	r.file.Entries = append(r.file.Entries, e)
	return nil
}

// word keeps one copy of a text.
func (r *baselineReader) word(text string) string {
	if kept, known := r.words[text]; known {
		return kept
	}
	r.words[text] = text
	return text
}

func (r *baselineReader) explain(path string, err error) error {
	at := r.at
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = syntax.Offset
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		at, err = int64(len(r.text)), errors.New("the file ends too early")
	}
	e := &engine.Error{
		Class: engine.ClassUsage, Reason: "baseline", Op: "read baseline", Target: fmt.Sprintf("%s:%d", path, r.line(at)),
		Hint: "Make it again with --create-baseline, or restore it from version control.", Err: err,
	}
	if errors.Is(err, errNewer) {
		e.Reason, e.Hint = "newer_schema", "Use the version of patrol that wrote it, or a newer one."
	}
	return e
}

func (r *baselineReader) line(offset int64) int {
	return 1 + bytes.Count(r.text[:min(max(offset, 0), int64(len(r.text)))], []byte("\n"))
}
