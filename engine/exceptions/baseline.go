package exceptions

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

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

// baselineFile is a baseline as its file has it. A pointer is nil where the key is missing.
type baselineFile struct {
	Schema   *schemaNumber `json:"schema"`
	Version  *string       `json:"version"`
	AsOf     *instant      `json:"as_of"`
	Findings *[]entry      `json:"findings"`
}

// errNewer is a file of a later version of patrol.
var errNewer = errors.New("is newer than this patrol")

type schemaNumber int

// UnmarshalJSONFrom reads a schema that this patrol knows. It stands first, so that a
// newer file is told as such before any of its keys is unknown.
func (s *schemaNumber) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if err := json.UnmarshalDecode(d, (*int)(s)); err != nil {
		return err
	}
	switch {
	case *s > schema:
		return fmt.Errorf("schema %d %w", *s, errNewer)
	case *s < schema:
		return fmt.Errorf("schema %d: want %d", *s, schema)
	}
	return nil
}

type instant string

// UnmarshalJSONFrom reads a time of RFC 3339.
func (i *instant) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if err := json.UnmarshalDecode(d, (*string)(i)); err != nil {
		return err
	}
	_, err := time.Parse(time.RFC3339, string(*i))
	return err
}

type entry struct{ engine.BaselineEntry }

// UnmarshalJSONFrom reads a finding of which nothing is missing.
func (e *entry) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if err := json.UnmarshalDecode(d, &e.BaselineEntry); err != nil {
		return err
	}
	if !fingerprintPattern.MatchString(e.Fingerprint) {
		return fmt.Errorf("fingerprint %q: want 32 hexadecimal digits", e.Fingerprint)
	}
	if e.Policy == "" || e.WorkspaceID == "" || e.Resource == "" || e.ResourceID == "" {
		return errors.New("want policy, workspace_id, resource and resource_id in each finding")
	}
	_, err := engine.ParseSeverity(string(e.Severity))
	return err
}

// ParseBaseline reads a baseline strictly: an entry that nobody understands would
// excuse nothing, or something else than was meant.
func ParseBaseline(path string, text []byte) (*Baseline, error) {
	wrong := func(at int64, err error) error {
		e := &engine.Error{
			Class: engine.ClassUsage, Reason: "baseline", Op: "read baseline", Target: fmt.Sprintf("%s:%d", path, 1+bytes.Count(text[:at], []byte("\n"))),
			Hint: "Make it again with --create-baseline, or restore it from version control.", Err: err,
		}
		if errors.Is(err, errNewer) {
			e.Reason, e.Hint = "newer_schema", "Use the version of patrol that wrote it, or a newer one."
		}
		return e
	}
	var file baselineFile
	if err := json.Unmarshal(text, &file, json.RejectUnknownMembers(true)); err != nil {
		var syntax *jsontext.SyntacticError
		var semantic *json.SemanticError
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, wrong(int64(len(text)), errors.New("the file ends too early"))
		case errors.As(err, &semantic) && errors.Is(semantic.Err, json.ErrUnknownName):
			return nil, wrong(semantic.ByteOffset, fmt.Errorf("unknown key %q", semantic.JSONPointer.LastToken()))
		case errors.As(err, &semantic) && semantic.Err != nil:
			return nil, wrong(semantic.ByteOffset, semantic.Err)
		case errors.As(err, &semantic):
			kind := strings.NewReplacer("{", "object", "[", "list").Replace(semantic.JSONKind.String())
			return nil, wrong(semantic.ByteOffset, fmt.Errorf("%s: does not want a value of kind %s", cmp.Or(semantic.JSONPointer.LastToken(), "baseline"), kind))
		case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
			return nil, wrong(syntax.ByteOffset, fmt.Errorf("%s is there twice", syntax.JSONPointer.LastToken()))
		case errors.As(err, &syntax):
			return nil, wrong(syntax.ByteOffset, syntax.Err)
		}
		return nil, wrong(0, err)
	}
	missing := ""
	switch {
	case file.Schema == nil:
		missing = "schema"
	case file.Version == nil:
		missing = "version"
	case file.AsOf == nil:
		missing = "as_of"
	case file.Findings == nil:
		missing = "findings"
	}
	if missing != "" {
		return nil, wrong(0, errors.New(missing+" is missing"))
	}
	b := &Baseline{AsOf: string(*file.AsOf), Version: *file.Version, index: make(map[string]int, len(*file.Findings))}
	for i, e := range *file.Findings {
		if _, taken := b.index[e.Fingerprint]; taken {
			return nil, wrong(int64(bytes.LastIndex(text, []byte(e.Fingerprint))), fmt.Errorf("fingerprint %s is there twice", e.Fingerprint))
		}
		b.index[e.Fingerprint] = i
		b.Entries = append(b.Entries, e.BaselineEntry)
	}
	return b, nil
}

// schema grows when a file would have to be read in another way.
const schema = 1

// timeLayout shows milliseconds only where there are any, as reports do.
const timeLayout = "2006-01-02T15:04:05.999Z07:00"

// WriteBaseline writes the findings that fail now, those that a baseline excuses
// already included, and returns how many they are. Waived ones are left out:
// they fail again when their waiver ends. Same findings, same bytes; each is one
// line, so that a change of the file shows what changed.
func WriteBaseline(w io.Writer, version string, asOf time.Time, findings iter.Seq2[engine.Finding, error], critical []string) (written, left int, err error) {
	out := bufio.NewWriter(w) // its errors stick: Flush reports the first
	fmt.Fprintf(out, `{"schema":%d,"version":%s,"as_of":%q,"findings":[`, schema, engine.CompactJSON(version), asOf.UTC().Format(timeLayout))
	for f, err := range findings {
		switch {
		case err != nil:
			return written, left, err
		case f.Status != engine.Fail && f.Status != engine.Baselined:
			continue
		case !MayBaseline(f, critical):
			left++
			continue
		}
		mark := ",\n"
		if written == 0 {
			mark = "\n"
		}
		fmt.Fprintf(out, "%s%s", mark, engine.EscapeJSON(engine.CompactJSON(entryOf(f))))
		written++
	}
	fmt.Fprint(out, "\n]}\n")
	return written, left, out.Flush()
}

func entryOf(f engine.Finding) engine.BaselineEntry {
	return engine.BaselineEntry{
		Fingerprint: f.Fingerprint, Policy: f.Policy, Severity: f.Severity, Workspace: f.Workspace, WorkspaceID: f.WorkspaceID,
		Resource: f.Resource, ResourceID: f.ResourceID,
	}
}
