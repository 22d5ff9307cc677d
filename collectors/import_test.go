package collectors

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/unicode"

	"patrol/engine"
)

func importText(t *testing.T, name, text string) ([]Outcome, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o := ImportOptions{Options: Options{SpoolDir: t.TempDir(), Now: func() time.Time { return testNow }}, Labels: map[string]string{"env": "test"}}
	outcomes, err := Import(context.Background(), path, o)
	for _, outcome := range outcomes {
		t.Cleanup(func() {
			if err := outcome.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return outcomes, err
}

func TestImportJSON(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"list":   `[` + row("a", goodRest) + `]`,
		"object": `{"token_infos":[` + row("a", goodRest) + `]}`,
		"mark":   "\xEF\xBB\xBF[" + row("a", goodRest) + `]`,
		"UTF-16": utf16("[" + row("a", goodRest) + `]`),
	} {
		t.Run(name, func(t *testing.T) {
			outcomes, err := importText(t, "prod.json", text)
			if err != nil || len(outcomes) != 1 {
				t.Fatalf("%d outcomes, %v", len(outcomes), err)
			}
			capture := outcomes[0].Capture
			if w := capture.Workspace; w.ID != "import:prod" || w.Name != "prod" || w.Host != "" || w.Labels["env"] != "test" {
				t.Errorf("%+v", w)
			}
			for section, got := range capture.Sections {
				want := engine.NotCollected
				if section == engine.SectionTokens {
					want = engine.Complete
				}
				if got.Coverage.Status != want {
					t.Errorf("%s: %+v", section, got.Coverage)
				}
			}
			if tokens := tokensOf(t, capture.Sections[engine.SectionTokens]); len(tokens) != 1 || tokens[0].ID != "a" {
				t.Errorf("%+v", tokens)
			}
		})
	}
}

func TestImportPartsWorkspaces(t *testing.T) {
	t.Parallel()
	outcomes, err := importText(t, "all.json", `[`+row("b", goodRest+`,"workspace_id":22`)+`,`+row("a", goodRest+`,"workspace_id":"9007199254740993"`)+
		`,`+row("a", goodRest+`,"workspace_id":22`)+`,`+row("c", goodRest)+`]`)
	if err != nil {
		t.Fatal(err)
	}
	got := importedParts(t, outcomes)
	if want := "import:all all c; 22 all-22 a b; 9007199254740993 all-9007199254740993 a"; strings.Join(got, "; ") != want {
		t.Errorf("got %s", strings.Join(got, "; "))
	}
}

func TestImportCSV(t *testing.T) {
	t.Parallel()
	outcomes, err := importText(t, "report.csv", "Token ID;Owner;Workspace ID;Created;Expires;Last used;Comment\r\n"+
		"a;ann@example.com;7;2025-10-20T10:00:00Z;Never;2025-10-21;\"=1+1;\"\"x\"\" \xff\"\r\n"+
		"b;bob@example.com;7;2025-10-20 10:00:00;2026-01-02;never;\r\n"+
		"c;;7;yesterday;;;\r\n")
	if err != nil || len(outcomes) != 1 {
		t.Fatalf("%d, %v", len(outcomes), err)
	}
	if id := outcomes[0].Capture.Workspace.ID; id != "7" {
		t.Errorf("workspace %s", id)
	}
	tokens := tokensOf(t, outcomes[0].Capture.Sections[engine.SectionTokens])
	a, b, c := tokens[0], tokens[1], tokens[2]
	created := time.Date(2025, 10, 20, 10, 0, 0, 0, time.UTC).UnixMilli()
	if a.OwnerID != "ann@example.com" || *a.Created != created || *a.Expires != engine.NeverExpires || *a.LastUsed != created-10*3600_000+engine.Day ||
		a.Comment != "=1+1;\"x\" \xff" || len(a.Defects) != 0 {
		t.Errorf("%+v", a)
	}
	if *b.Created != created || *b.Expires != time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC).UnixMilli() || b.LastUsed != nil || len(b.Defects) != 0 {
		t.Errorf("%+v", b)
	}
	if c.Created != nil || c.Expires != nil || len(c.Defects) != 3 {
		t.Errorf("%+v", c)
	}
}

// The report is of the whole account: workspaces are told apart by whatever it
// calls them, and an id that two of them have is two tokens.
func TestImportCSVPartsWorkspaces(t *testing.T) {
	t.Parallel()
	const rest = ",ann@example.com,2025-10-20,Never\n"
	for name, test := range map[string]struct{ text, want string }{
		"names":           {"Token ID,Workspace,Owner,Created,Expires\na,prod" + rest + "b,dev" + rest + "a,dev" + rest, "import:dev dev a b; import:prod prod a"},
		"names and ids":   {"Token ID,Workspace Name,Workspace ID,Owner,Created,Expires\na,prod,7" + rest + "b,dev,8" + rest + "a,dev,8" + rest, "7 prod a; 8 dev a b"},
		"ids as names":    {"Token ID,Workspace,Owner,Created,Expires\na,7" + rest + "a,8" + rest, "7 report-7 a; 8 report-8 a"},
		"names as ids":    {"Token ID,Workspace ID,Owner,Created,Expires\na,prod" + rest + "a,dev" + rest, "import:dev dev a; import:prod prod a"},
		"one of the rows": {"Token ID,Workspace,Owner,Created,Expires\na,prod" + rest + "a," + rest, "import:report report a; import:prod prod a"},
		"none":            {"Token ID,Owner,Created,Expires\na" + rest, "import:report report a"},
	} {
		t.Run(name, func(t *testing.T) {
			outcomes, err := importText(t, "report.csv", test.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(importedParts(t, outcomes), "; "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// importedParts tells of each outcome its workspace and the ids of its tokens.
func importedParts(t *testing.T, outcomes []Outcome) (all []string) {
	t.Helper()
	for _, o := range outcomes {
		text := o.Capture.Workspace.ID + " " + o.Capture.Workspace.Name
		for _, token := range tokensOf(t, o.Capture.Sections[engine.SectionTokens]) {
			text += " " + token.ID
		}
		if c := o.Capture.Sections[engine.SectionTokens].Coverage; !c.Complete() {
			t.Errorf("%+v", c)
		}
		all = append(all, text)
	}
	return all
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, text, says string }{
		"empty":          {"x.json", "", "empty"},
		"no mark":        {"x.json", "[\x00]\x00", "neither UTF-8 nor UTF-16 with a byte order mark"},
		"cut":            {"x.json", `[{"token_id":"a"`, "breaks off"},
		"trailing":       {"x.json", `[]]`, "follows"},
		"other object":   {"x.json", `{"message":"no"}`, "neither a list"},
		"other columns":  {"x.csv", "Token ID,Colour\na,b\n", "no column for creation_time, expiry_time, owner; the columns are: Token ID, Colour"},
		"uneven columns": {"x.csv", "token id,owner,created,expires\na,b\n", "line 2"},
		"prose":          {"x.txt", "hello\nworld\n", "no column for token_id"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := importText(t, test.file, test.text)
			failure, ok := engine.AsError(err)
			if !ok || failure.Class != engine.ClassUsage || failure.Hint == "" || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := Import(context.Background(), filepath.Join(t.TempDir(), "none.json"), ImportOptions{}); err == nil {
		t.Error("a missing file is imported")
	}
}

// FuzzImport feeds anything to the import: it must end without a panic, with
// tokens or an error that is one of ours.
func FuzzImport(f *testing.F) {
	for _, seed := range []string{
		`[` + row("a", goodRest) + `]`, `{"token_infos":[]}`, "\xEF\xBB\xBF[]", "token id,owner,created,expires\na,b,2025-01-01,never\n",
		"Token ID;Owner;Created;Expires;Comment\n1;x;1;2;\"\xff\"\n", "\"",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		body := newSpool(dir, 1<<20)
		defer body.Close()
		file, err := newTable(context.Background(), io.NopCloser(bytes.NewReader(text)))
		if err != nil {
			return
		}
		list := newTokenList(body, windowAt(testNow), true)
		if err := fillImport("fuzz", file, list); err != nil {
			if _, ok := engine.AsError(err); !ok {
				t.Fatalf("%T", err)
			}
			return
		}
		for _, p := range list.parts {
			for token, err := range list.tokens(p.rows) {
				if err != nil || token.ID == "" {
					t.Fatalf("%+v, %v", token, err)
				}
			}
		}
	})
}

var UTF16 = utf16 // for tests from outside

// utf16 is a text as PowerShell's > writes it.
func utf16(text string) string {
	encoded, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(text)
	if err != nil {
		panic(err)
	}
	return encoded
}
