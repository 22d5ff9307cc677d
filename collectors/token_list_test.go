package collectors

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
)

var testNow = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func row(id, rest string) string {
	if rest != "" {
		rest = "," + rest
	}
	return `{"token_id":"` + id + `"` + rest + `}`
}

const goodRest = `"creation_time":1761000000000,"expiry_time":-1,"owner_id":1,"created_by_id":2,"created_by_username":"ann@example.com","comment":"c"`

func listOf(t *testing.T, body string) (*tokenList, *Problem) {
	t.Helper()
	s := newSpool(t.TempDir(), tokensLimit)
	t.Cleanup(func() { s.Close() })
	if _, err := io.WriteString(s, body); err != nil {
		t.Fatal(err)
	}
	return readTokenList(t.Context(), "test", s, windowAt(testNow), nil)
}

func sectionOf(t *testing.T, body string) engine.Section {
	t.Helper()
	list, problem := listOf(t, body)
	if problem != nil {
		return failed(problem)
	}
	return list.section()
}

// tokensOf reads all rows. What no row tells is TestFieldsThatNoRowTells' subject.
func tokensOf(t *testing.T, s engine.Section) []engine.Token {
	t.Helper()
	var all []engine.Token
	for token, err := range s.Tokens {
		if err != nil {
			t.Fatal(err)
		}
		token.Defects = slices.DeleteFunc(token.Defects, func(d engine.Defect) bool { return d.Reason == reasonNotListed })
		all = append(all, token)
	}
	return all
}

func TestTokenListCoverage(t *testing.T) {
	t.Parallel()
	good := row("a", goodRest)
	for name, test := range map[string]struct {
		body   string
		status engine.CoverageStatus
		reason string
		rows   int
	}{
		"empty object":          {`{}`, engine.Complete, "", 0},
		"null list":             {`{"token_infos":null}`, engine.Complete, "", 0},
		"empty list":            {`{"token_infos":[]}`, engine.Complete, "", 0},
		"one":                   {`{"token_infos":[` + good + `]}` + "\n", engine.Complete, "", 1},
		"bare list":             {`[` + good + `]`, engine.Complete, "", 1},
		"unknown members":       {`{"x":[{"y":1}],"token_infos":[` + good + `],"z":null}`, engine.Complete, "", 1},
		"alike twice":           {`[` + good + `,` + row("a", goodRest) + `]`, engine.Complete, "", 1},
		"alike, other spelling": {`[{"token_id":"a","expiry_time":-1,"creation_time":1761000000000,"owner_id":1},{"token_id":"a", "creation_time":1761000000000,"owner_id":1,"expiry_time":-1}]`, engine.Complete, "", 1},
		"differing twice":       {`[` + good + `,` + row("b", goodRest) + `,` + row("a", goodRest+`,"last_used_day":1761000000000`) + `]`, engine.Partial, "duplicate_id", 2},
		"no id":                 {`[` + good + `,{"comment":"x"}]`, engine.Partial, "missing_id", 1},
		"id is a number":        {`[` + good + `,{"token_id":5}]`, engine.Partial, "missing_id", 1},
		"row is no object":      {`[` + good + `,7,null]`, engine.Partial, "missing_id", 1},
		"next page":             {`{"token_infos":[` + good + `],"next_page_token":"p2"}`, engine.Implausible, "paged", 0},
		"float time":            {`[` + row("a", `"owner_id":1,"creation_time":1.7e12,"expiry_time":-1`) + `]`, engine.Partial, "bad_type", 1},
		"seconds":               {`[` + row("a", `"owner_id":1,"creation_time":1761000000,"expiry_time":-1`) + `]`, engine.Partial, "bad_timestamp", 1},
		"far future":            {`[` + row("a", `"owner_id":1,"creation_time":1761000000000,"expiry_time":4102444800000`) + `]`, engine.Complete, "", 1}, // 2100
		"farther future":        {`[` + row("a", `"owner_id":1,"creation_time":1761000000000,"expiry_time":41024448000000`) + `]`, engine.Partial, "bad_timestamp", 1},
		"made in the future":    {`[` + row("a", `"owner_id":1,"creation_time":4102444800000,"expiry_time":-1`) + `]`, engine.Partial, "bad_timestamp", 1},
		"a total beyond it":     {`{"total_count":9,"token_infos":[` + good + `]}`, engine.Implausible, "paged", 0},
		"has more":              {`{"token_infos":[` + good + `],"has_more":true}`, engine.Implausible, "paged", 0},
		"other letter case":     {`{"Token_Infos":[` + good + `]}`, engine.Implausible, "not_a_list", 0},
		"no expiry":             {`[` + row("a", `"owner_id":1,"creation_time":1761000000000`) + `]`, engine.Partial, "missing", 1},
		"expiry null":           {`[` + row("a", `"owner_id":1,"creation_time":1761000000000,"expiry_time":null`) + `]`, engine.Partial, "missing", 1},
		"expiry zero":           {`[` + row("a", `"owner_id":1,"creation_time":1761000000000,"expiry_time":0`) + `]`, engine.Partial, "missing", 1},
		"last used zero":        {`[` + row("a", goodRest+`,"last_used_day":0`) + `]`, engine.Partial, "bad_timestamp", 1},
		"last used null":        {`[` + row("a", goodRest+`,"last_used_day":null`) + `]`, engine.Complete, "", 1},
		"key twice":             {`[` + row("a", goodRest+`,"owner_id":9`) + `]`, engine.Partial, "duplicate_key", 1},
		"key in another case":   {`[` + row("a", goodRest+`,"OWNER_ID":9`) + `]`, engine.Partial, "duplicate_key", 1},
		"a total below it":      {`{"total_count":0,"token_infos":[` + good + `]}`, engine.Implausible, "totals_differ", 0},
		"an error with rows":    {`{"error_code":"INTERNAL_ERROR","token_infos":[` + good + `]}`, engine.Implausible, "not_a_list", 0},
		"next page, other word": {`{"token_infos":[` + good + `],"next_page":2}`, engine.Implausible, "paged", 0},
		"next link":             {`{"token_infos":[` + good + `],"@odata.nextLink":"x"}`, engine.Implausible, "paged", 0},
		"next link among links": {`{"token_infos":[` + good + `],"links":{"self":"x","next":"y"}}`, engine.Implausible, "paged", 0},
		"to be continued":       {`{"token_infos":[` + good + `],"continuation_token":"x"}`, engine.Implausible, "paged", 0},
		"has next page":         {`{"token_infos":[` + good + `],"hasNextPage":true}`, engine.Implausible, "paged", 0},
		"cut":                   {`{"token_infos":[` + good + `],"is_truncated":true}`, engine.Implausible, "paged", 0},
		"no further page":       {`{"token_infos":[` + good + `],"next_page_token":"","has_more":false,"next":null,"links":{}}`, engine.Complete, "", 1},
		"blank id":              {`[` + good + `,` + row("  ", goodRest) + `]`, engine.Partial, "missing_id", 1},
		"ends before it began":  {`[` + row("a", `"owner_id":1,"creation_time":1761000000000,"expiry_time":1760000000000`) + `]`, engine.Partial, "contradictory", 1},
		"used after its end":    {`[` + row("a", `"owner_id":1,"creation_time":1761000000000,"expiry_time":1762000000000,"last_used_day":1762214400000`) + `]`, engine.Partial, "contradictory", 1},
		"used before it was":    {`[` + row("a", `"owner_id":1,"creation_time":1761000000000,"expiry_time":1768000000000,"last_used_day":1760745600000`) + `]`, engine.Partial, "contradictory", 1},
		"used the day before":   {`[` + row("a", `"owner_id":1,"creation_time":1761000000000,"expiry_time":1768000000000,"last_used_day":1760918400000`) + `]`, engine.Complete, "", 1},
		"used on its last day":  {`[` + row("a", `"owner_id":1,"creation_time":1761000000000,"expiry_time":1762000000000,"last_used_day":1761955200000`) + `]`, engine.Complete, "", 1},
		"scope without a name":  {`[` + row("a", goodRest+`,"scopes":[""]`) + `]`, engine.Partial, "bad_type", 1},
		"scope with blanks":     {`[` + row("a", goodRest+`,"scopes":[" authentication "]`) + `]`, engine.Partial, "bad_type", 1},
		"scope in capitals":     {`[` + row("a", goodRest+`,"scopes":["ALL-APIS"]`) + `]`, engine.Partial, "bad_type", 1},
		"a word for all scopes": {`[` + row("a", goodRest+`,"scopes":["unrestricted"]`) + `]`, engine.Partial, "bad_type", 1},
		"scopes with modifiers": {`[` + row("a", goodRest+`,"scopes":["sql:read:restricted-query","all-apis"]`) + `]`, engine.Complete, "", 1},
		"empty":                 {``, engine.Failed, "bad_body", 0},
		"html":                  {`<html>`, engine.Failed, "bad_body", 0},
		"another object":        {`{"message":"no"}`, engine.Implausible, "not_a_list", 0},
		"text":                  {`"x"`, engine.Implausible, "not_a_list", 0},
		"list is an object":     {`{"token_infos":{}}`, engine.Implausible, "not_a_list", 0},
		"list twice":            {`{"token_infos":[],"token_infos":[]}`, engine.Implausible, "duplicate_key", 0},
		"trailing":              {`{"token_infos":[` + good + `]}x`, engine.Failed, "bad_body", 0},
		"trailing value":        {`[` + good + `][]`, engine.Failed, "bad_body", 0},
		"cut after a row":       {`{"token_infos":[` + good + `,`, engine.Truncated, "truncated_body", 0},
		"cut in a row":          {`{"token_infos":[{"token_id":"a`, engine.Truncated, "truncated_body", 0},
		"cut before the end":    {`{"token_infos":[` + good + `]`, engine.Truncated, "truncated_body", 0},
		"cut at the key":        {`{"token_infos"`, engine.Truncated, "truncated_body", 0},
		"garbage between rows":  {`[` + good + `;` + good + `]`, engine.Failed, "bad_body", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := sectionOf(t, test.body)
			if s.Coverage.Status != test.status || s.Coverage.Reason != test.reason || s.Coverage.Count != test.rows {
				t.Fatalf("got %+v", s.Coverage)
			}
			if test.status != engine.Complete && s.Coverage.Detail == "" {
				t.Error("no detail")
			}
			if s.Coverage.Usable() && len(tokensOf(t, s)) != test.rows {
				t.Error("rows differ from count")
			}
		})
	}
}

func TestTokenFields(t *testing.T) {
	t.Parallel()
	const big = "9007199254740993"
	s := sectionOf(t, `[`+row("t", `"creation_time":"1761000000000","expiry_time":"1768000000000","last_used_day":1761004800000,"owner_id":"`+big+`","created_by_id":`+big+`,
		"created_by_username":"ann@example.com","comment":"a\u0000`+"\xff\xfe"+`","scopes":["sql"],"autoscope_state":"AUTOSCOPE_STATE_RUNNING","inferred_scopes":["a","b"],"new_field":{"x":1}`)+`]`)
	token := tokensOf(t, s)[0]
	if *token.Created != 1761000000000 || *token.Expires != 1768000000000 || *token.LastUsed != 1761004800000 {
		t.Errorf("times %d %d %d", *token.Created, *token.Expires, *token.LastUsed)
	}
	if token.OwnerID != big || token.CreatorID != big || token.CreatorName != "ann@example.com" {
		t.Errorf("owner %s, creator %s %s", token.OwnerID, token.CreatorID, token.CreatorName)
	}
	if token.Comment != "a\x00\xff\xfe" {
		t.Errorf("comment %q", token.Comment)
	}
	if len(token.Scopes) != 1 || len(token.InferredScopes) != 2 || token.BackfillScopes != nil || token.AutoscopeState != "AUTOSCOPE_STATE_RUNNING" {
		t.Errorf("scopes %+v", token)
	}
	if len(token.Defects) != 0 || !strings.Contains(string(token.Raw), `"new_field":{"x":1}`) || !strings.Contains(string(token.Raw), "\xff\xfe") {
		t.Errorf("defects %v, raw %s", token.Defects, token.Raw)
	}
}

func TestTokenDefects(t *testing.T) {
	t.Parallel()
	s := sectionOf(t, `[`+row("t", `"creation_time":true,"expiry_time":"soon","last_used_day":17,"owner_id":{"x":1},"created_by_id":1.0,"comment":5,"scopes":"sql"`)+`]`)
	token := tokensOf(t, s)[0]
	got := map[string]string{}
	for _, defect := range token.Defects {
		got[defect.Field] = defect.Reason + " " + defect.Value
	}
	want := map[string]string{
		"creation_time": "bad_type true", "expiry_time": `bad_type "soon"`, "last_used_day": "bad_timestamp 17",
		"owner_id": `bad_type {"x":1}`, "created_by_id": "bad_type 1.0", "comment": "bad_type 5", "scopes": `bad_type "sql"`,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if token.Created != nil || token.Expires != nil || token.LastUsed != nil || token.OwnerID != "" {
		t.Errorf("a defective field has a value: %+v", token)
	}
}

func TestTokenListOrderAndDuplicates(t *testing.T) {
	t.Parallel()
	ids := []string{"long-prefix-0123456789-b", "b", "long-prefix-0123456789-a", "a", "long-prefix-0123456789", "B"}
	var rows []string
	for _, id := range ids {
		rows = append(rows, row(id, goodRest))
	}
	rows = append(rows, row("b", goodRest+`,"last_used_day":1761004800000`))
	s := sectionOf(t, `{"token_infos":[`+strings.Join(rows, ",\n ")+`]}`)
	for range 2 {
		var got []string
		for _, token := range tokensOf(t, s) {
			got = append(got, token.ID)
			if token.ID == "b" && (token.Created != nil || len(token.Defects) != 3 || token.Defects[0].Reason != "duplicate_id") {
				t.Errorf("the contradicted token: %+v", token)
			}
			if token.ID == "a" && token.Created == nil {
				t.Error("another token lost its dates")
			}
		}
		if want := "B a b long-prefix-0123456789 long-prefix-0123456789-a long-prefix-0123456789-b"; strings.Join(got, " ") != want {
			t.Errorf("got %v", got)
		}
	}
}

func TestSpoolFileIsPrivateAndGoes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newSpool(dir, 64<<20)
	chunk := []byte(strings.Repeat("0123456789abcdef", 1<<16)) // 1 MiB
	for range 10 {
		if _, err := s.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	if windows := runtime.GOOS == "windows"; len(names) != map[bool]int{false: 0, true: 1}[windows] {
		t.Fatalf("files %v: a kill would leave raw answers", names)
	}
	if info, err := s.file.Stat(); err != nil || info.Size() == 0 || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("mode %v", info.Mode())
	}
	part := make([]byte, 4)
	if _, err := s.ReadAt(part, 9<<20); err != nil || string(part) != "0123" {
		t.Errorf("read %q, %v", part, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if names, _ = filepath.Glob(filepath.Join(dir, "*")); len(names) != 0 {
		t.Errorf("left %v", names)
	}
	if _, err := newSpool(dir, 10).Write(chunk); !errors.Is(err, errTooLarge) {
		t.Errorf("limit: %v", err)
	}
}

// TestTokenListMemory reads a list far larger than what may stay in memory.
func TestTokenListMemory(t *testing.T) {
	rows := 50_000
	if testing.Short() {
		rows = 20_000
	}
	s := newSpool(t.TempDir(), tokensLimit)
	defer s.Close()
	fillSpool(t, s, rows)
	before := heap()
	start := time.Now()
	list, problem := readTokenList(t.Context(), "test", s, windowAt(testNow), nil)
	if problem != nil {
		t.Fatal(problem)
	}
	indexed := time.Since(start)
	n, last := 0, ""
	for token, err := range list.section().Tokens {
		if err != nil || token.ID <= last {
			t.Fatalf("after %s: %s, %v", last, token.ID, err)
		}
		last = token.ID
		n++
	}
	grown := int64(heap()) - int64(before)
	t.Logf("%d rows, %d MiB: indexed in %v, all in %v, heap grown by %d KiB", rows, s.size>>20, indexed, time.Since(start), grown>>10)
	if n != rows {
		t.Errorf("%d rows, want %d", n, rows)
	}
	if limit := int64(rows)*48 + 4<<20; grown > limit {
		t.Errorf("heap grew by %d bytes, more than %d", grown, limit)
	}
	runtime.KeepAlive(list)
}

func fillSpool(t *testing.T, s *spool, rows int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	b := []byte(`{"token_infos":[`)
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"token_id":"%016x%016x%016x%016x","creation_time":1761000000000,"expiry_time":1768000000000,"last_used_day":1761004800000,"comment":"nightly load %d","created_by_id":7311234567890123,"created_by_username":"user%d@example.com","owner_id":7311234567890123,"workspace_id":1234567890123456,"scopes":["all-apis"],"autoscope_state":"AUTOSCOPE_STATE_DISABLED"}`,
			random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64(), i, i%5000)
		if len(b) > 1<<16 || i == rows-1 {
			if _, err := s.Write(b); err != nil {
				t.Fatal(err)
			}
			b = b[:0]
		}
	}
	if _, err := io.WriteString(s, `]}`); err != nil {
		t.Fatal(err)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// FuzzTokens feeds anything to the reader of token lists: it must end without
// a panic, and every row must come out in order and with its bytes.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `{"token_infos":[` + row("a", goodRest) + `,` + row("b", `"expiry_time":0`) + `]}`,
		`[` + row("a", goodRest) + `,` + row("a", `"owner_id":"9007199254740993"`) + `]`,
		`[{"token_id":"x","comment":"` + "\xff" + `\u0000","scopes":[1]}]`, `{"token_infos":[{"token_id":"a`, `[{"token_id":"a","token_id":"b"}]x`, `00`, `{"token_id":"a","token_id":4b`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := newSpool("", 1<<20)
		defer s.Close()
		if _, err := s.Write(body); err != nil {
			return
		}
		list, problem := readTokenList(t.Context(), "fuzz", s, windowAt(testNow), nil)
		if problem != nil {
			if problem.Reason == "" || problem.Reason == reasonSpool {
				t.Fatalf("an answer is told as a fault of our own: %v", problem)
			}
			return
		}
		last, n := "", 0
		for token, err := range list.section().Tokens {
			if err != nil || n > 0 && token.ID <= last {
				t.Fatalf("%q after %q, %v", token.ID, last, err)
			}
			if !strings.Contains(string(body), string(token.Raw)) {
				t.Fatal("the row is not as answered")
			}
			last = token.ID
			n++
		}
	})
}
