package exceptions

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"patrol/engine"

	"github.com/google/go-cmp/cmp"
)

var asOf = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func finding(n int, status engine.Status) engine.Finding {
	return engine.Finding{
		Policy: "PAT-001", Severity: engine.High, Status: status, Workspace: "prod", WorkspaceID: "9007199254740993",
		Resource: engine.ResourceToken, ResourceID: fmt.Sprintf("%064x", n), Fingerprint: fmt.Sprintf("%032x", n),
		Owner: "ann@example.com", Message: "lives 365 days", Evidence: map[string]any{"comment": "hush"},
	}
}

func seq(findings ...engine.Finding) iter.Seq2[engine.Finding, error] {
	return func(yield func(engine.Finding, error) bool) {
		for _, f := range findings {
			if !yield(f, nil) {
				return
			}
		}
	}
}

func written(t *testing.T, findings ...engine.Finding) string {
	t.Helper()
	var b bytes.Buffer
	if _, _, err := WriteBaseline(&b, "1.2.3", asOf, seq(findings...), nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWriteBaseline(t *testing.T) {
	t.Parallel()
	got := written(t, finding(1, engine.Fail), finding(2, engine.Waived), finding(3, engine.Baselined), finding(4, engine.Unknown), finding(5, engine.Errored))
	want := `{"schema":1,"version":"1.2.3","as_of":"2026-11-24T12:00:00Z","findings":[
{"fingerprint":"00000000000000000000000000000001","policy":"PAT-001","severity":"high","workspace":"prod","workspace_id":"9007199254740993","resource":"token","resource_id":"0000000000000000000000000000000000000000000000000000000000000001"},
{"fingerprint":"00000000000000000000000000000003","policy":"PAT-001","severity":"high","workspace":"prod","workspace_id":"9007199254740993","resource":"token","resource_id":"0000000000000000000000000000000000000000000000000000000000000003"}
]}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestBaselineRoundTrip(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 3} {
		var findings []engine.Finding
		for i := range n {
			findings = append(findings, finding(i, engine.Fail))
		}
		text := written(t, findings...)
		file, err := ParseBaseline("b.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(file.Entries) != n || file.Version != "1.2.3" || file.AsOf != "2026-11-24T12:00:00Z" {
			t.Errorf("%+v", file)
		}
		for i := range n {
			if diff := cmp.Diff(entryOf(findings[i]), file.Entries[i]); diff != "" {
				t.Error(diff)
			}
		}
	}
}

func TestWriteFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	_, _, err := WriteBaseline(&bytes.Buffer{}, "1", asOf, func(yield func(engine.Finding, error) bool) { yield(engine.Finding{}, broken) }, nil)
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
}

func TestParseBaselineRefuses(t *testing.T) {
	t.Parallel()
	good := written(t, finding(1, engine.Fail))
	second := strings.Split(good, "\n")[1]
	for name, c := range map[string]struct{ text, want string }{
		"nothing":             {"", "b.json:1: the file ends too early"},
		"cut off":             {good[:len(good)-5], "b.json:2: the file ends too early"},
		"a list":              {"[]", "b.json:1: baseline: does not want a value of kind list"},
		"no JSON":             {"{\n\n  schema: 1}", "b.json:3: invalid character 's'"},
		"more behind":         {good + "{}", "b.json:4: invalid character '{' after top-level value"},
		"newer":               {strings.Replace(good, `"schema":1`, `"schema":2`, 1), "b.json:1: schema 2 is newer than this patrol"},
		"schema 0":            {strings.Replace(good, `"schema":1`, `"schema":0`, 1), "b.json:1: schema 0: want 1"},
		"schema as text":      {strings.Replace(good, `"schema":1`, `"schema":"1"`, 1), "b.json:1: schema: does not want a value of kind string"},
		"no schema":           {strings.Replace(good, `"schema":1,`, ``, 1), "schema is missing"},
		"no findings":         {`{"schema":1,"version":"1","as_of":"2026-11-24T12:00:00Z"}`, "findings is missing"},
		"findings no list":    {strings.Replace(good, `[`, `{`, 1), "b.json:1: findings: does not want a value of kind object"},
		"a day that is none":  {strings.Replace(good, "2026-11-24T12:00:00Z", "yesterday", 1), `b.json:1: parsing time "yesterday"`},
		"unknown key":         {strings.Replace(good, `"version"`, `"comment"`, 1), `b.json:1: unknown key "comment"`},
		"key twice":           {strings.Replace(good, `"version":"1.2.3"`, `"version":"1.2.3","version":"1"`, 1), "b.json:1: version is there twice"},
		"unknown entry key":   {strings.Replace(good, `"policy"`, `"rule"`, 1), `b.json:2: unknown key "rule"`},
		"bad fingerprint":     {strings.Replace(good, strings.Repeat("0", 31)+"1\"", "xyz\"", 1), `b.json:2: fingerprint "xyz": want 32 hexadecimal digits`},
		"fingerprint twice":   {strings.Replace(good, "\n]", ",\n"+second+"\n]", 1), "b.json:3: fingerprint 00000000000000000000000000000001 is there twice"},
		"unknown severity":    {strings.Replace(good, `"high"`, `"grave"`, 1), `b.json:2: severity "grave"`},
		"without policy":      {strings.Replace(good, `"policy":"PAT-001",`, ``, 1), "b.json:2: want policy, workspace_id, resource and resource_id in each finding"},
		"entry of wrong kind": {strings.Replace(good, `"policy":"PAT-001"`, `"policy":7`, 1), "b.json:2: policy: does not want a value of kind number"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseBaseline("b.json", []byte(c.text))
			e, ok := engine.AsError(err)
			if !ok || e.Class != engine.ClassUsage || e.Hint == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestBaselineMatcher(t *testing.T) {
	t.Parallel()
	var entries []engine.Finding
	for n := range 6 {
		entries = append(entries, finding(n, engine.Fail))
	}
	entries[4].Policy, entries[5].WorkspaceID = "PAT-009", "2"
	file, err := ParseBaseline("b.json", []byte(written(t, entries...)))
	if err != nil {
		t.Fatal(err)
	}
	m := NewBaselineMatcher(file, nil)
	meet := func(f engine.Finding) engine.Status {
		f = m.Except(f)
		m.See(f)
		return f.Status
	}
	for _, c := range []struct {
		finding engine.Finding
		want    engine.Status
	}{
		{finding(0, engine.Fail), engine.Baselined}, {finding(1, engine.Waived), engine.Waived},
		{finding(2, engine.Unknown), engine.Unknown}, {finding(77, engine.Fail), engine.Fail},
	} {
		if got := meet(c.finding); got != c.want {
			t.Errorf("%s became %s, want %s", c.finding.Status, got, c.want)
		}
	}
	m.Judged(snapshot(engine.Complete), map[string]engine.Tally{"PAT-001": {}})
	want := &engine.BaselineUse{
		AsOf: "2026-11-24T12:00:00Z", Version: "1.2.3", Entries: 6, Baselined: 1,
		NotJudged: 3, // unknown; a policy and a workspace that were not looked at
		Gone:      []engine.BaselineEntry{entryOf(finding(3, engine.Fail))},
	}
	if diff := cmp.Diff(want, m.Use()); diff != "" {
		t.Error(diff)
	}
}

func snapshot(tokens engine.CoverageStatus) engine.Snapshot {
	return engine.Snapshot{
		Workspace: engine.Workspace{ID: "9007199254740993", Name: "prod"},
		Coverage:  map[engine.SectionName]engine.Coverage{engine.SectionTokens: {Status: tokens}},
	}
}

// TestNotGone: what could not be judged is not gone.
func TestNotGone(t *testing.T) {
	t.Parallel()
	file, err := ParseBaseline("b.json", []byte(written(t, finding(1, engine.Fail))))
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]engine.Tally{"PAT-001": {engine.Pass: 3}}
	lacking := finding(9, engine.Unknown)
	lacking.Resource, lacking.ResourceID = engine.ResourceWorkspace, lacking.WorkspaceID
	for name, c := range map[string]struct {
		see    *engine.Finding
		tokens engine.CoverageStatus
		gone   int
	}{
		"judged whole":          {nil, engine.Complete, 1},
		"tokens partly read":    {nil, engine.Partial, 0},
		"policy lacks its data": {&lacking, engine.Complete, 0},
	} {
		m := NewBaselineMatcher(file, nil)
		if c.see != nil {
			m.See(*c.see)
		}
		m.Judged(snapshot(c.tokens), ran)
		if use := m.Use(); len(use.Gone) != c.gone || use.NotJudged != 1-c.gone {
			t.Errorf("%s: %+v", name, use)
		}
	}
}

func FuzzParseBaseline(f *testing.F) {
	var b bytes.Buffer
	_, _, _ = WriteBaseline(&b, "1", asOf, seq(finding(1, engine.Fail), finding(2, engine.Fail)), nil)
	f.Add(b.String())
	f.Add(`{"schema":1,"version":"","as_of":"2026-11-24T12:00:00Z","findings":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := ParseBaseline("b.json", []byte(text))
		if err != nil {
			if e, ok := engine.AsError(err); !ok || e.Class != engine.ClassUsage {
				t.Fatal(err)
			}
			return
		}
		m := NewBaselineMatcher(file, nil)
		for _, e := range file.Entries {
			if got := m.Except(engine.Finding{Fingerprint: e.Fingerprint, Status: engine.Fail}); got.Status != engine.Baselined {
				t.Fatalf("%+v is listed and not excused", e)
			}
		}
	})
}

// TestBaselineLeavesCriticalOnes: a critical finding is excused only where its policy is named.
func TestBaselineLeavesCriticalOnes(t *testing.T) {
	t.Parallel()
	critical := engine.Finding{Policy: "PAT-010", Severity: engine.Critical}
	if MayBaseline(critical, nil) || MayBaseline(critical, []string{"PAT-011"}) || !MayBaseline(critical, []string{"PAT-010"}) || !MayBaseline(engine.Finding{Policy: "PAT-001", Severity: engine.High}, nil) {
		t.Error("the ceiling does not hold")
	}
}
