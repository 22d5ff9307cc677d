package exceptions

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"time"

	"patrol/engine"
)

// BaselineMatcher excuses what a baseline knows and finds out which of it is gone. It
// is for one goroutine.
type BaselineMatcher struct {
	file      *Baseline
	seen      []sight
	judged    map[scope]bool  // a policy was run in a workspace
	undecided map[scope]bool  // … but could not be
	partial   map[string]bool // workspaces whose tokens were not all read
	baselined int
	critical  []string // policies whose critical findings may be excused
	refused   int
}

// scope is a policy in a workspace.
type scope struct{ policy, workspaceID string }

// sight is how an entry was met in an evaluation.
type sight byte

const (
	unseen sight = iota
	present
	unjudged // the result on it is unknown, or an error
)

// NewBaselineMatcher prepares a baseline for one evaluation. Of critical findings
// it excuses only those of the policies named.
func NewBaselineMatcher(f *Baseline, critical []string) *BaselineMatcher {
	return &BaselineMatcher{file: f, critical: critical, seen: make([]sight, len(f.Entries)), judged: map[scope]bool{}, undecided: map[scope]bool{}, partial: map[string]bool{}}
}

// Except turns a failed finding that the baseline lists into a baselined one.
func (m *BaselineMatcher) Except(f engine.Finding) engine.Finding {
	if _, listed := m.file.index[f.Fingerprint]; listed && f.Status == engine.Fail {
		if !MayBaseline(f, m.critical) {
			m.refused++
			return f
		}
		m.baselined++
		f.Status = engine.Baselined
	}
	return f
}

// Refused is how many critical findings go on failing although the baseline lists them.
func (m *BaselineMatcher) Refused() int { return m.refused }

// MayBaseline reports whether a baseline may excuse a finding: none that is
// critical, unless its policy is named. That is what waivers may do, too.
func MayBaseline(f engine.Finding, critical []string) bool {
	return f.Severity != engine.Critical || slices.Contains(critical, f.Policy)
}

// See notes a finding of the evaluation, whatever its status.
func (m *BaselineMatcher) See(f engine.Finding) {
	if i, listed := m.file.index[f.Fingerprint]; listed {
		m.seen[i] = present
		if !f.Status.Judged() {
			m.seen[i] = unjudged
		}
		return
	}
	// A policy that could not be run at all is one finding on the workspace.
	if !f.Status.Judged() && f.Resource == engine.ResourceWorkspace {
		m.undecided[scope{f.Policy, f.WorkspaceID}] = true
	}
}

// Judged notes which policies were run in a workspace. Where not all tokens were
// read, it is open what became of the others.
func (m *BaselineMatcher) Judged(s engine.Snapshot, tallies map[string]engine.Tally) {
	for policy := range tallies {
		m.judged[scope{policy, s.Workspace.ID}] = true
	}
	m.partial[s.Workspace.ID] = !s.Coverage[engine.SectionTokens].Whole()
}

// Use tells what the baseline came to.
func (m *BaselineMatcher) Use() *engine.BaselineUse {
	use := &engine.BaselineUse{
		AsOf: m.file.AsOf, Version: m.file.Version, Entries: len(m.file.Entries), Baselined: m.baselined, Gone: []engine.BaselineEntry{},
	}
	for i, e := range m.file.Entries {
		switch at := (scope{e.Policy, e.WorkspaceID}); {
		case m.seen[i] == present:
		case e.Resource == engine.ResourceToken && m.partial[e.WorkspaceID]:
			use.NotJudged++
		case m.seen[i] == unseen && m.judged[at] && !m.undecided[at]:
			use.Gone = append(use.Gone, e)
		default:
			use.NotJudged++
		}
	}
	return use
}

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

// schema grows when a baselineReader of the file would have to change.
const schema = 1

// timeLayout shows milliseconds only where there are any, as reports do.
const timeLayout = "2006-01-02T15:04:05.999Z07:00"

// WriteBaseline writes the findings that fail now, those that a baseline excuses
// already included, and returns how many they are. Waived ones are left out:
// they fail again when their waiver ends. Same findings, same bytes.
func WriteBaseline(w io.Writer, version string, asOf time.Time, findings iter.Seq2[engine.Finding, error], critical []string) (written, left int, err error) {
	out := bufio.NewWriter(w)
	head, err := json.Marshal(header{schema, version, asOf.UTC().Format(timeLayout)})
	if err != nil {
		return 0, 0, err
	}
	// Errors of a bufio.Writer stick: Flush reports the first.
	_, _ = out.Write(head[:len(head)-1])
	_, _ = out.WriteString(",\"findings\":[")
	for f, err := range findings {
		if err != nil {
			return written, left, err
		}
		if f.Status != engine.Fail && f.Status != engine.Baselined {
			continue
		}
		if !MayBaseline(f, critical) {
			left++
			continue
		}
		if err := writeEntry(out, entryOf(f), written == 0); err != nil {
			return written, left, err
		}
		written++
	}
	_, _ = out.WriteString("\n]}\n")
	return written, left, out.Flush()
}

type header struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"` // of patrol
	AsOf    string `json:"as_of"`
}

func entryOf(f engine.Finding) engine.BaselineEntry {
	return engine.BaselineEntry{
		Fingerprint: f.Fingerprint, Policy: f.Policy, Severity: f.Severity, Workspace: f.Workspace, WorkspaceID: f.WorkspaceID,
		Resource: f.Resource, ResourceID: f.ResourceID,
	}
}

// writeEntry writes one entry a line, so that a change of the file shows what changed.
func writeEntry(out *bufio.Writer, e engine.BaselineEntry, first bool) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if !first {
		_ = out.WriteByte(',')
	}
	_ = out.WriteByte('\n')
	_, err = out.Write(engine.EscapeJSON(line))
	return err
}
