package collectors

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
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
		"UTF-16": inUTF16("[" + row("a", goodRest) + `]`),
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
		rows := newRowReader(body, windowAt(testNow))
		if err := rows.fill("fuzz", file); err != nil {
			if _, ok := engine.AsError(err); !ok {
				t.Fatalf("%T", err)
			}
			return
		}
		for _, list := range rows.lists {
			for token, err := range list.section().Tokens {
				if err != nil || token.ID == "" {
					t.Fatalf("%+v, %v", token, err)
				}
			}
		}
	})
}

var UTF16 = inUTF16 // for tests from outside

// inUTF16 is a text as PowerShell's > writes it.
func inUTF16(text string) string {
	encoded, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(text)
	if err != nil {
		panic(err)
	}
	return encoded
}

func ms(text string) int64 {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return at.UnixMilli()
}

// importedOne is the one token of a file.
func importedOne(t *testing.T, name, text string) engine.Token {
	t.Helper()
	outcomes, err := importText(t, name, text)
	if err != nil {
		t.Fatal(err)
	}
	var all []engine.Token
	for token, err := range outcomes[0].Capture.Sections[engine.SectionTokens].Tokens {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, token)
	}
	if len(all) != 1 {
		t.Fatalf("%d tokens", len(all))
	}
	return all[0]
}

func defectsOf(token engine.Token) string {
	var texts []string
	for _, d := range token.Defects {
		texts = append(texts, d.Field+": "+d.Reason)
	}
	return strings.Join(texts, ", ")
}

func TestImportTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1794000000000": "2026-11-06T21:20:00Z", "1.794e12": "2026-11-06T21:20:00Z", "1794000000000.0": "2026-11-06T21:20:00Z",
		"2026-11-06T20:26:40.123Z": "2026-11-06T20:26:40.123Z", "2026-11-06T20:26:40.000+0000": "2026-11-06T20:26:40Z", "2026-11-06T20:26:40": "2026-11-06T20:26:40Z",
		"2026-11-06 20:26:40.123": "2026-11-06T20:26:40.123Z", "2026-11-06 20:26:40+00:00": "2026-11-06T20:26:40Z", "2026-11-06 21:26:40 +0100 CET": "2026-11-06T20:26:40Z",
		"2026-11-06 20:26:40 UTC": "2026-11-06T20:26:40Z", "2026-11-06": "2026-11-06T00:00:00Z", "Nov 6, 2026": "2026-11-06T00:00:00Z", "November 6, 2026": "2026-11-06T00:00:00Z",
		"Nov 6, 2026, 8:26 PM": "2026-11-06T20:26:00Z", "6 Nov 2026": "2026-11-06T00:00:00Z", "06.11.2026": "2026-11-06T00:00:00Z", "Fri, 06 Nov 2026 20:26:40 GMT": "2026-11-06T20:26:40Z",
		"11/16/2026": "2026-11-16T00:00:00Z", "16/11/2026": "2026-11-16T00:00:00Z",
		"N/A": "", "n/a": "", "-": "", "soon": "", "3/4/2026": "", "NaN": "", "Inf": "", "1e300": "", "1.5": "", "2026-11-06 20:26:40 PST": "", "unknown": "",
	} {
		got, ok := importTime(text)
		switch {
		case want == "" && ok:
			t.Errorf("%s is read as %d", text, got)
		case want != "" && (!ok || got != ms(want)):
			t.Errorf("%s is read as %d, %v, want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"Never", "no expiration", "Does not expire", "never used", "-1"} {
		if got, ok := importTime(text); !ok || got != engine.NeverExpires {
			t.Errorf("%s: %d, %v", text, got, ok)
		}
	}
}

// What tools write for nothing is nothing, and what nobody can read is unknown:
// neither is a token that was never used, or one without an end.
func TestImportWordsForNothing(t *testing.T) {
	t.Parallel()
	const header = "token_id,owner_id,creation_time,expiry_time,last_used_day,comment,scopes,created_by_id\n"
	for _, word := range []string{"", "null", "NULL", "None", "NaN", "nan", "NaT", "<NA>", `\N`} {
		// Another row tells of its last use, so that this one's was never.
		outcomes, err := importText(t, "x.csv", header+"a,1,2026-01-01,"+word+","+word+","+word+","+word+","+word+"\nb,1,2026-01-01,2026-12-01,2026-10-01,c,sql,1\n")
		if err != nil {
			t.Fatal(err)
		}
		a := tokensOf(t, outcomes[0].Capture.Sections[engine.SectionTokens])[0]
		if a.Expires != nil || a.LastUsed != nil || a.Comment != "" || len(a.Scopes) != 0 || a.CreatorID != "" || defectsOf(a) != "expiry_time: missing" {
			t.Errorf("%q: %+v %s", word, a, defectsOf(a))
		}
		// Where no row does, it is unknown.
		a = importedOne(t, "x.csv", header+"a,1,2026-01-01,2026-12-01,"+word+","+word+","+word+","+word+"\n")
		if facts := engine.Derive(a, testNow.UnixMilli()); facts.Used != nil {
			t.Errorf("%q everywhere: used is %v", word, *facts.Used)
		}
	}
	for _, word := range []string{"N/A", "n/a", "-", "?", "unknown", "3/4/2026"} {
		a := importedOne(t, "x.csv", header+"a,1,2026-01-01,"+word+","+word+",c,sql,1\n")
		if facts := engine.Derive(a, testNow.UnixMilli()); facts.Used != nil || facts.NeverExpires != nil {
			t.Errorf("%q: %+v", word, facts)
		}
	}
	a := importedOne(t, "x.csv", header+"a,1,2026-01-01,Never,never,c,sql,1\n")
	if facts := engine.Derive(a, testNow.UnixMilli()); facts.Used == nil || *facts.Used || facts.NeverExpires == nil || !*facts.NeverExpires {
		t.Errorf("never: %+v %s", facts, defectsOf(a))
	}
}

// TestFieldsThatNoRowTells: what no row of a list has is unknown for all of them;
// what one row has is empty where others leave it out.
func TestFieldsThatNoRowTells(t *testing.T) {
	t.Parallel()
	full := map[string]string{
		"last_used_day": "1761000000000", "comment": `"c"`, "scopes": `["sql"]`, "autoscope_state": `"AUTOSCOPE_STATE_COMPLETED"`,
		"inferred_scopes": `["sql"]`, "backfill_scopes": `["sql"]`, "created_by_id": "1",
	}
	list := func(without string) string {
		var members []string
		for _, field := range engine.SortedKeys(full) {
			if field != without {
				members = append(members, fmt.Sprintf("%q:%s", field, full[field]))
			}
		}
		const rest = `"creation_time":1761000000000,"expiry_time":-1,"owner_id":1`
		return "[" + row("a", rest+","+strings.Join(members, ",")) + "," + row("b", rest) + "," + row("c", rest+`,"`+cmp.Or(without, "x")+`":null`) + "]"
	}
	for _, field := range append(engine.SortedKeys(full), "") {
		for name, section := range map[string]engine.Section{"live": sectionOf(t, list(field)), "file": func() engine.Section {
			outcomes, err := importText(t, "x.json", list(field))
			if err != nil {
				t.Fatal(err)
			}
			return outcomes[0].Capture.Sections[engine.SectionTokens]
		}()} {
			want := ""
			if field != "" && field != "inferred_scopes" && field != "backfill_scopes" { // autoscope_state says that these are known
				want = field + ": not_listed"
			}
			for token, err := range section.Tokens {
				if err != nil || defectsOf(token) != want {
					t.Errorf("%s without %s: token %s has %q, %v", name, field, token.ID, defectsOf(token), err)
				}
			}
			if c := section.Coverage; !c.Complete() || (want != "") != strings.Contains(c.Detail, "no row tells "+field) || (want != "") != (c.Hint != "") {
				t.Errorf("%s without %s: %+v", name, field, c)
			}
		}
	}
}

func TestImportHeadings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ header, cells, want string }{
		"best id":         {"ID,Token ID,Owner,Created,Expires", "1,aa,o,2026-01-01,Never", "aa o"},
		"only id":         {"ID,Owner,Created,Expires", "aa,o,2026-01-01,Never", "aa o"},
		"best comment":    {"Token ID,Name,Owner,Comment,Created,Expires", "aa,N,o,C,2026-01-01,Never", "aa o C"},
		"best owner":      {"Token ID,User,Owner,Owner email,Created,Expires", "aa,u,o,o@example.com,2026-01-01,Never", "aa o@example.com"},
		"best date":       {"Token ID,Owner,Created,creation_time,Expires", "aa,o,yesterday,2026-01-01,Never", "aa o"},
		"names as ids":    {"token_id,owner_id,creation_time,expiry_time", "aa,o@example.com,2026-01-01,Never", "aa o@example.com"},
		"floats":          {"token_id,owner_id,creation_time,expiry_time", "aa,1001.0,1.7e12,-1.0", "aa 1001"},
		"sep line":        {"sep=;\nToken ID;Owner;Created;Expires", "aa;o;2026-01-01;Never", "aa o"},
		"tabs":            {"Token ID\tOwner\tCreated\tExpires", "aa\to,p\t2026-01-01\tNever", "aa o,p"},
		"bars":            {"Token ID|Owner|Created|Expires", "aa|o|2026-01-01|Never", "aa o"},
		"quoted comma":    {`"Token ID";"Owner, or user name";Owner;Created;Expires`, "aa;x;o;2026-01-01;Never", "aa o"},
		"python scopes":   {"Token ID,Owner,Created,Expires,Scopes", `aa,o,2026-01-01,Never,"['sql', 'jobs:read']"`, "aa o [sql jobs:read]"},
		"spark scopes":    {"Token ID,Owner,Created,Expires,Scopes", `aa,o,2026-01-01,Never,"[sql, jobs]"`, "aa o [sql jobs]"},
		"unread scopes":   {"Token ID,Owner,Created,Expires,Scopes", `aa,o,2026-01-01,Never,{sql}`, "aa o scopes: bad_type"},
		"one id twice":    {"Token ID,token_id,Owner,Created,Expires", "aa,aa,o,2026-01-01,Never", `the columns "Token ID" and "token_id" may both be token_id`},
		"a heading twice": {"Token ID,Owner,Created,Created,Expires", "aa,o,2026-01-01,2026-01-01,Never", `column "Created" stands in the header twice`},
		"two dates":       {"Token ID,Owner,Created,Created on,Expires", "aa,o,2026-01-01,2026-01-02,Never", `the columns "Created" and "Created on" may both be creation_time: rename or remove one of them`},
	} {
		for encoding, text := range map[string]string{"": test.header + "\n" + test.cells + "\n", "UTF-16": inUTF16(test.header + "\r\n" + test.cells + "\r\n")} {
			outcomes, err := importText(t, "report.csv", text)
			if err != nil {
				if !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s %s: %v", name, encoding, err)
				}
				continue
			}
			got := ""
			for _, token := range tokensOf(t, outcomes[0].Capture.Sections[engine.SectionTokens]) {
				got += token.ID + " " + token.OwnerID + " " + token.Comment
				if token.Scopes != nil {
					got += fmt.Sprint(token.Scopes)
				}
				got = strings.TrimSpace(got + " " + defectsOf(token))
			}
			if strings.ReplaceAll(got, "  ", " ") != test.want {
				t.Errorf("%s %s: got %q, want %q", name, encoding, got, test.want)
			}
		}
	}
}

// Where owners are named instead of numbered, they are compared with the name of
// whoever made the token, and only with one of the same kind.
func TestImportOnBehalf(t *testing.T) {
	t.Parallel()
	const yes, no, unknown = "true", "false", "unknown"
	for row, want := range map[string]string{
		"bob@example.com,Bob@example.com,7":                      no,
		"bob@example.com,ann@example.com,7":                      yes,
		"6f1d2c3b-0000-4000-8000-000000000001,ann@example.com,7": yes,
		"Bob Jones,bob@example.com,7":                            unknown,
		"bob@example.com,,7":                                     unknown,
		"annsmith,annsmith,":                                     no,
	} {
		token := importedOne(t, "x.csv", "Token ID,Created,Expires,Owner,Created by,created_by_id\na,2026-01-01,Never,"+row+"\n")
		got := unknown
		if on := engine.Derive(token, testNow.UnixMilli()).OnBehalf; on != nil {
			got = fmt.Sprint(*on)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", row, got, want)
		}
	}
}

func TestImportSteampipe(t *testing.T) {
	t.Parallel()
	token := importedOne(t, "s.json", `{"columns":[{"name":"token_id","data_type":"text"}],"rows":[{"token_id":"a","comment":"c","creation_time":"2026-01-01T00:00:00Z",`+
		`"expiry_time":"1969-12-31T23:59:59Z","last_used_day":null,"owner_id":9007199254740993,"created_by_id":7,"created_by_username":"bob@example.com","title":"a"}]}`)
	if token.OwnerID != "9007199254740993" || *token.Created != ms("2026-01-01T00:00:00Z") || *token.Expires != engine.NeverExpires || token.Comment != "c" {
		t.Errorf("%+v %s", token, defectsOf(token))
	}
	if engine.Derive(token, testNow.UnixMilli()).Used != nil {
		t.Error("a last use of null in every row is taken for none")
	}
}

func TestImportRefusesRoundedIDs(t *testing.T) {
	t.Parallel()
	rows := func(ids ...string) string {
		var list []string
		for i, id := range ids {
			list = append(list, fmt.Sprintf(`{"token_id":"t%d","creation_time":1761000000000,"expiry_time":-1,"owner_id":%s,"created_by_id":7}`, i, id))
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	for name, test := range map[string]struct {
		ids     []string
		refused bool
	}{
		"all end in zeros": {[]string{"1234567890123456800", "1234567890123457000", "7654321098765432300"}, true},
		"as an exponent":   {[]string{"1.2345678901234568e+18"}, true},
		"two":              {[]string{"1234567890123456800", "1234567890123457000"}, true},
		"exact":            {[]string{"1234567890123456789", "1234567890123456790", "7654321098765432101"}, false},
		"one of them":      {[]string{"1234567890123456800", "1234567890123456800", "1234567890123456800"}, false},
		"small ones":       {[]string{"1000", "2000", "3000"}, false},
		"below the bound":  {[]string{"5000000000000000", "6000000000000000", "7000000000000000"}, false},
	} {
		_, err := importText(t, "x.json", rows(test.ids...))
		if (err != nil) != test.refused || err != nil && !strings.Contains(err.Error(), "rounded") {
			t.Errorf("%s: %v", name, err)
		}
		if known, ok := engine.AsError(err); test.refused && (!ok || !strings.Contains(known.Hint, "databricks token-management list -o json")) {
			t.Errorf("%s: %+v", name, err)
		}
	}
	_, err := importText(t, "x.csv", "token_id,owner_id,creation_time,expiry_time\na,1.2345678901234568e+18,2026-01-01,-1\n")
	if err == nil {
		t.Error("a CSV with a rounded id is read")
	}
}

func TestImportWithoutRows(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{}", "[]", `{"token_infos":[]}`, `{"rows":[]}`, "token id,owner,created,expires\n"} {
		outcomes, err := importText(t, "x", text)
		if err != nil {
			t.Fatal(err)
		}
		if c := outcomes[0].Capture.Sections[engine.SectionTokens].Coverage; c.Usable() || c.Reason != reasonNoRows || !strings.Contains(c.Hint, "--accept-empty") {
			t.Errorf("%s: %+v", text, c)
		}
	}
}

// TestPoorFiles: what tools make of a list is read as what it means, or refused
// with its line, or unknown for the row that has it; nothing passes by it.
func TestPoorFiles(t *testing.T) {
	const header = "token_id,owner_id,creation_time,expiry_time,scopes"
	utf32 := "\xFF\xFE\x00\x00"
	for _, r := range header {
		utf32 += string([]byte{byte(r), 0, 0, 0})
	}
	for _, c := range []struct{ name, text, want string }{
		{"carriage returns", header + "\ra,12,2026-01-01,2026-12-01,sql\r", "12 [sql]"},
		{"carriage returns after a mark", "\xEF\xBB\xBF" + header + "\ra,12,2026-01-01,2026-12-01,sql", "12 [sql]"},
		{"a quoted sep", "\"sep=;\"\r\n" + strings.ReplaceAll(header, ",", ";") + "\r\na;12;2026-01-01;2026-12-01;sql\r\n", "12 [sql]"},
		{"a sep for tabs", "sep=\t\n" + strings.ReplaceAll(header, ",", "\t") + "\na\t12\t2026-01-01\t2026-12-01\tsql\n", "12 [sql]"},
		{"blank lines", header + "\n\na,12,2026-01-01,2026-12-01,sql\n\n", "12 [sql]"},
		{"scopes with null", header + "\na,12,2026-01-01,2026-12-01,[null]\n", "12 []; line 2, token a: scopes"},
		{"scopes with null and more", header + "\na,12,2026-01-01,2026-12-01,\"[\"\"sql\"\", null]\"\n", "12 []; line 2, token a: scopes"},
		{"scopes of Python", header + "\na,12,2026-01-01,2026-12-01,\"['sql', None]\"\n", "12 []; line 2, token a: scopes"},
		{"an id that is none", header + "\na,abc,2026-01-01,2026-12-01,sql\n", " [sql]; line 2, token a: owner_id"},
		{"an id with a separator", header + "\na,\"1,234\",2026-01-01,2026-12-01,sql\n", " [sql]; line 2, token a: owner_id"},
		{"an id with a point", header + "\na,1.234.567,2026-01-01,2026-12-01,sql\n", " [sql]; line 2, token a: owner_id"},
		{"an id with a zero before", header + "\na,0123,2026-01-01,2026-12-01,sql\n", " [sql]; line 2, token a: owner_id"},
		{"an id with a sign", header + "\na,+12,2026-01-01,2026-12-01,sql\n", " [sql]; line 2, token a: owner_id"},
		{"an id below zero", header + "\na,-12,2026-01-01,2026-12-01,sql\n", " [sql]; line 2, token a: owner_id"},
		{"an id of pandas", header + "\na,12.0,2026-01-01,2026-12-01,sql\n", "12 [sql]"},
		{"an id of Excel", header + "\na,8.28619E+15,2026-01-01,2026-12-01,sql\n", "refused: ; end in zeros"},
		{"an id of a German Excel", strings.ReplaceAll(header, ",", ";") + "\na;8,28619E+15;2026-01-01;2026-12-01;sql\n", " [sql]; line 2, token a: owner_id"},
		{"an address for an id", header + "\na,ann@example.com,2026-01-01,2026-12-01,sql\n", "ann@example.com [sql]"},
		{"a German day", strings.ReplaceAll(header, ",", ";") + "\na;12;01.02.2026;01.12.2026 08:00;sql\n", "12 [sql]"},
		{"a time with a decimal comma", strings.ReplaceAll(header, ",", ";") + "\na;12;1,76E+12;01.12.2026;sql\n", "12 [sql]; line 2, token a: creation_time"},
		{"a day of Excel", header + "\na,12,46023,46357,sql\n", "12 [sql]; line 2, token a: creation_time"},
		{"seconds", header + "\na,12,1761000000,1796000000,sql\n", "12 [sql]; line 2, token a: creation_time"},
		{"a footer", header + "\na,12,2026-01-01,2026-12-01,sql\n(1 row affected)\n", "refused: ; x.csv:3: "},
		{"a footer after a blank line", header + "\na,12,2026-01-01,2026-12-01,sql\n\n(1 row affected)\n", "refused: ; x.csv:4: "},
		{"a line of dashes", header + "\n--------,--------,----,----,----\na,12,2026-01-01,2026-12-01,sql\n", "line 2"},
		{"an open quote", header + "\na,12,2026-01-01,2026-12-01,\"sql\n", "refused: ; x.csv:2: "},
		{"UTF-32", utf32, "UTF-32"},
		{"a page of HTML", "<!DOCTYPE html><html><body>Sign in</body></html>", "no column for"},
		{"a header alone that is a sentence", "Query complete (0.41 seconds, 3 rows)", "no column for"},
		{"a list of null", `{"token_infos":[null]}`, "no usable token_id"},
		{"an object for a list", `{"token_infos":{}}`, "neither a list"},
		{"a number for a list", `{"token_infos":7}`, "neither a list"},
		{"a list of lists", `[["a",12]]`, "no usable token_id"},
		{"a list of texts", `["a"]`, "no usable token_id"},
		{"a list twice", `{"token_infos":[],"Token_Infos":[]}`, "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcomes, err := importText(t, "x.csv", c.text)
			got := ""
			if err != nil {
				got = "refused: " + err.Error() + " "
			} else {
				section := outcomes[0].Capture.Sections[engine.SectionTokens]
				for _, token := range tokensOf(t, section) {
					if token.ID == "a" {
						got = fmt.Sprintf("%s %v", token.OwnerID, token.Scopes)
					}
				}
				if !section.Coverage.Complete() {
					got += "; " + section.Coverage.Detail
				}
			}
			if want, whole := c.want, !strings.ContainsAny(c.want, ";:") && strings.HasSuffix(c.want, "]"); whole && got != want || !whole && !containsInOrder(got, strings.Split(want, "; ")) {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

func containsInOrder(text string, parts []string) bool {
	for _, part := range parts {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}

// TestImportOddFiles: rows and headings as spreadsheets and other hands leave them.
func TestImportOddFiles(t *testing.T) {
	t.Parallel()
	const header = "Token ID,Owner ID,Created,Expires,Scopes,Comment"
	const good = "aa,12,2026-01-02,2026-12-31,sql,x"
	wide := strings.Repeat("w", 700)
	for _, c := range []struct{ name, text, want string }{
		{"returns alone behind a long header", wide + "," + header + "\r1," + good + "\r", "aa"},
		{"returns alone, a line feed in quotes", header + "\raa,12,2026-01-02,2026-12-31,sql,\"two\nlines\"\rbb,12,2026-01-02,2026-12-31,sql,x\r", "aa bb"},
		{"empty cells below the list", header + "\n" + good + "\n,,,,,\n , ,,,,\n", "aa"},
		{"the header twice", header + "\n" + good + "\n" + header + "\n" + good + "\n", "odd.csv:3: the header stands here again"},
		{"a heading in another script", strings.Replace(header, "Expires", "日Expires", 1) + "\n" + good + "\n", "no column for expiry_time"},
		{"a time that a spreadsheet cut", header + "\naa,12,1.76E+12,-1,sql,x\n", `creation_time "1.76E+12"`},
		{"all scopes by another word", header + "\naa,12,2026-01-02,2026-12-31,All,x\n", `scopes "All"`},
		{"made after its end", header + "\naa,12,2026-10-02,2026-01-02,sql,x\n", "contradictory 2"},
		{"made and ended on one day", header + "\naa,12,2026-01-02,2026-01-02,sql,x\n", "aa"},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcomes, err := importText(t, "odd.csv", c.text)
			got := fmt.Sprint(err)
			if err == nil {
				s := outcomes[0].Capture.Sections[engine.SectionTokens]
				if got = s.Coverage.Detail; s.Coverage.Status == engine.Complete {
					var ids []string
					for _, token := range tokensOf(t, s) {
						ids = append(ids, token.ID)
					}
					got = strings.Join(ids, " ")
				}
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("%s", got)
			}
		})
	}
}
