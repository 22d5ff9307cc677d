package collectors

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"

	"pgregory.net/rapid"
)

const reportHeader = "Token ID,Workspace ID,Owner,Created,Expires\n"

func writeReport(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokenReportWithMistakes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, target, wrong string }{
		"no such column": {"Token ID,Owner,Created,Expires\n", ":1", "no column for workspace_id; the columns are: Token ID, Owner, Created, Expires"},
		"no token":       {reportHeader + "a,1,o,,\n,1,o,,\n", ":3", "the row has no token id"},
		"no workspace":   {reportHeader + "a,,o,,\n", ":2", "the row has no workspace"},
		"twice":          {reportHeader + "a,1,o,,\nb,1,o,,\na,1,o,,\n", ":4", "the token stands in line 2, too"},
		"short row":      {reportHeader + "a,1\n", ":2", "wrong number of fields"},
		"quotes":         {reportHeader + "a,1,o,,\n\"a,1,o,,\n", "", "extraneous or missing \" in quoted-field"},
		"empty":          {"", "", "the file is empty"},
		"no mark":        {"T\x00o\x00", "", "neither UTF-8 nor UTF-16 with a byte order mark"},
	} {
		_, err := OpenTokenReport(t.Context(), writeReport(t, test.text))
		var known *engine.Error
		if !errors.As(err, &known) || known.Class != engine.ClassUsage || known.Reason != "token_report" || known.Hint == "" {
			t.Errorf("%s: %#v", name, err)
			continue
		}
		if !strings.HasSuffix(known.Target, "report.csv"+test.target) && test.target != "" || !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%s: %v at %s", name, err, known.Target)
		}
	}
}

func readTokensOf(tokens []engine.Token) engine.Section {
	return engine.Section{
		Coverage: engine.Coverage{Status: engine.Complete, Count: len(tokens)},
		Tokens: func(yield func(engine.Token, error) bool) {
			for _, token := range tokens {
				if !yield(token, nil) {
					return
				}
			}
		},
	}
}

func compared(t testing.TB, s engine.Section) engine.ReportComparison {
	t.Helper()
	var c engine.ReportComparison
	if err := json.Unmarshal(s.Document, &c); err != nil {
		t.Fatal(err, s.Coverage)
	}
	return c
}

// TestTokenReportDates: what cannot be read is not known, rather than a date.
func TestTokenReportDates(t *testing.T) {
	t.Parallel()
	report, err := OpenTokenReport(t.Context(), writeReport(t, reportHeader+
		"a,1,o,2026-10-01,Never\nb,1,o,Oct 3rd,soon\nc,1,o,never,2026-10-02T00:00:00Z\nd,1,o,-5,-7\n"))
	if err != nil {
		t.Fatal(err)
	}
	section := report.section(engine.Workspace{ID: "1"}, readTokensOf(nil), testNow)
	if c := section.Coverage; c.Status != engine.Complete || c.Count != 4 || c.Detail != "3 rows of the report have dates that cannot be read" {
		t.Errorf("%+v", c)
	}
	got := compared(t, section)
	text, _ := json.Marshal(got.MissingHere)
	age := (testNow.UnixMilli() - time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC).UnixMilli()) / engine.Day
	want := fmt.Sprintf(`[{"token_id":"b"},{"token_id":"d"},{"token_id":"a","age_days":%d,"expired":false},{"token_id":"c","expired":true}]`, age)
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

// TestTokenReportOfWindows: a byte order mark, UTF-16 and Excel's line for the
// separator change nothing.
func TestTokenReportOfWindows(t *testing.T) {
	t.Parallel()
	text := reportHeader + "a,1,o,2026-10-01,never\nc,1,o,2026-10-01,never\n"
	semicolons := "sep=;\r\n" + strings.ReplaceAll(text, ",", ";")
	for name, text := range map[string]string{"mark": "\ufeff" + text, "UTF-16": inUTF16(text), "sep": semicolons, "both": inUTF16(semicolons)} {
		report, err := OpenTokenReport(t.Context(), writeReport(t, text))
		if err != nil {
			t.Fatal(name, err)
		}
		c := compared(t, report.section(engine.Workspace{ID: "1"}, readTokensOf([]engine.Token{{ID: "a"}, {ID: "b"}}), testNow))
		if c.Counts != (engine.ComparedCounts{Report: 2, Read: 2, Both: 1, MissingHere: 1, MissingThere: 1}) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestTokenReportByName: a report may name workspaces instead of their ids, and
// what is partial or unread is not called alike.
func TestTokenReportByName(t *testing.T) {
	t.Parallel()
	report, err := OpenTokenReport(t.Context(), writeReport(t, reportHeader+"a,prod,o,2026-10-01,never\nz,dev,o,2026-10-01,never\n"))
	if err != nil {
		t.Fatal(err)
	}
	read := readTokensOf([]engine.Token{{ID: "a"}})
	prod := engine.Workspace{ID: "1", Name: "prod"}
	if c := compared(t, report.section(prod, read, testNow)); c.Counts != (engine.ComparedCounts{Report: 1, Read: 1, Both: 1}) {
		t.Errorf("%+v", c)
	}
	if n, names := report.Beyond([]engine.Workspace{prod}); n != 1 || !slices.Equal(names, []string{"dev"}) {
		t.Errorf("%d %v", n, names)
	}
	read.Coverage.Status = engine.Partial
	if c := report.section(prod, read, testNow).Coverage; c.Status != engine.Partial || c.Reason != reasonTokensPartial {
		t.Errorf("%+v", c)
	}
	read.Coverage.Status = engine.Denied
	if c := report.section(prod, read, testNow).Coverage; c.Status != engine.Failed || c.Reason != reasonTokensUnread {
		t.Errorf("%+v", c)
	}
	other := engine.Workspace{ID: "2", Name: "other"}
	if c := report.section(other, readTokensOf([]engine.Token{{ID: "a"}}), testNow).Coverage; c.Reason != reasonNoRows || c.Hint == "" {
		t.Errorf("%+v", c)
	}
	if c := report.section(other, readTokensOf(nil), testNow).Coverage; c.Status != engine.Complete {
		t.Errorf("a workspace without tokens that the report leaves out: %+v", c)
	}
}

// TestTokenReportIsSetDifference holds the walk through two sorted lists
// against two sets.
func TestTokenReportIsSetDifference(t *testing.T) {
	enginetest.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-f]{1,3}`), 0, 300, rapid.ID[string])
		reported, read := ids.Draw(t, "report"), ids.Draw(t, "read")
		text := reportHeader
		for _, id := range reported {
			text += id + ",1,o,2026-10-01,never\n"
		}
		var tokens []engine.Token
		for _, id := range slices.Sorted(slices.Values(read)) {
			tokens = append(tokens, engine.Token{ID: id})
		}
		dir, err := os.MkdirTemp("", "report")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "report.csv")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := OpenTokenReport(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		section := report.section(engine.Workspace{ID: "1"}, readTokensOf(tokens), testNow)
		if section.Document == nil {
			if len(reported) > 0 || len(read) == 0 {
				t.Fatalf("%+v", section.Coverage)
			}
			return
		}
		var got engine.ReportComparison
		if err := json.Unmarshal(section.Document, &got); err != nil {
			t.Fatal(err)
		}
		here, there := without(reported, read), without(read, reported)
		want := engine.ComparedCounts{Report: len(reported), Read: len(read), Both: len(read) - len(there), MissingHere: len(here), MissingThere: len(there)}
		if got.Counts != want {
			t.Fatalf("got %+v, want %+v", got.Counts, want)
		}
		for _, side := range []struct {
			got  []engine.UnmatchedToken
			want []string
		}{{got.MissingHere, here}, {got.MissingThere, there}} {
			if names := idsOf(side.got); !slices.Equal(names, side.want[:min(len(side.want), engine.MostUnmatched)]) {
				t.Fatalf("got %v, want %v", names, side.want)
			}
		}
	})
}

func without(all, those []string) []string {
	left := slices.DeleteFunc(slices.Clone(all), func(id string) bool { return slices.Contains(those, id) })
	slices.SortFunc(left, cmp.Compare[string])
	return left
}

func idsOf(tokens []engine.UnmatchedToken) []string {
	var ids []string
	for _, token := range tokens {
		ids = append(ids, token.ID)
	}
	return ids
}

// FuzzTokenReport: whatever the file holds, it is refused with a place or each
// of its rows counts.
func FuzzTokenReport(f *testing.F) {
	f.Add(reportHeader + "a,1,o,2026-10-01,never\n")
	f.Add("Token ID;Workspace;User;Created;Expires\n\"a\n\";1;o;;\n")
	f.Add("\xEF\xBB\xBF" + reportHeader + "a,1,o,2026-10-01\n")
	f.Fuzz(func(t *testing.T, text string) {
		report, err := OpenTokenReport(t.Context(), writeReport(t, text))
		if err != nil {
			if known, ok := engine.AsError(err); !ok || known.Class != engine.ClassUsage {
				t.Fatalf("%#v", err)
			}
			return
		}
		tokens, _ := report.Beyond(nil)
		counted := 0
		for name := range report.workspaces {
			counted += compared(t, report.section(engine.Workspace{ID: name}, readTokensOf(nil), testNow)).Counts.MissingHere
		}
		if counted != tokens {
			t.Fatalf("%d tokens, %d counted", tokens, counted)
		}
	})
}
