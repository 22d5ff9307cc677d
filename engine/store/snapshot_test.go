package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/sqlite"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var sameLists = cmpopts.EquateEmpty()

// anyText draws text with everything that hurts: quotes, controls, bytes that are not UTF-8.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 12), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{"", "0", "null", `"`, `\`, "\x00", "a\x00b", "\u202e", "=1+1", "\xff\xfe"}))
}

func anyID() *rapid.Generator[string] {
	return rapid.OneOf(anyText(), rapid.Map(rapid.Int64(), func(n int64) string { return fmt.Sprint(n) }))
}

func anyTime() *rapid.Generator[*int64] {
	return rapid.Ptr(rapid.OneOf(rapid.Int64(), rapid.Just(int64(-1)), rapid.Just(int64(0)),
		rapid.Map(rapid.Int64Range(0, 40_000), func(d int64) int64 { return d * engine.Day })), true)
}

func anyLists() *rapid.Generator[[]string] { return rapid.SliceOfN(anyText(), 0, 3) }

func anyRaw(used *int64) *rapid.Generator[json.RawMessage] {
	return rapid.Custom(func(t *rapid.T) json.RawMessage {
		lastUsed := fmt.Sprint(rapid.Int64().Draw(t, "other"))
		if used != nil && rapid.Bool().Draw(t, "agrees") {
			lastUsed = fmt.Sprint(*used)
		}
		text := rapid.SampledFrom([]string{
			``, `null`, `"text"`, `[1,{"b":1,"a":2}]`, `{}`, `{"last_used_day":%s}`, `{"z":"\u0041<&","last_used_day":"%s","a":1e400}`,
			`{"token_id":"x", "last_used_day": %s, "big":12345678901234567890.10, "big":2}`, `{"n":{"last_used_day":%s,"b":[{"d":1,"c":2}]},"a":"` + "\xff" + `"}`,
		}).Draw(t, "raw")
		if text == "" {
			return nil
		}
		return json.RawMessage(strings.ReplaceAll(text, "%s", lastUsed))
	})
}

// rawLike draws a row that repeats the columns, more or less well.
func rawLike(token engine.Token) *rapid.Generator[json.RawMessage] {
	return rapid.Custom(func(t *rapid.T) json.RawMessage {
		var members []string
		for _, name := range rapid.SliceOf(rapid.SampledFrom([]string{
			"comment", "created_by_id", "created_by_username", "creation_time", "expiry_time", "last_used_day",
			"owner_id", "token_id", "scopes", "inferred_scopes", "backfill_scopes", "other",
		})).Draw(t, "fields") {
			var value []byte
			ok := false
			if _, byAnswer := lettered(); byAnswer[name] != nil {
				value, ok = appendField(nil, byAnswer[name], &token)
				if byAnswer[name].Number() && rapid.Bool().Draw(t, "as text") {
					value = append(append([]byte{'"'}, value...), '"')
				}
			}
			if !ok || !json.Valid(value) {
				value = []byte(rapid.SampledFrom([]string{`0`, `"0"`, `[]`, `null`, `{"a":"\u0001c"}`}).Draw(t, "value"))
			}
			members = append(members, fmt.Sprintf("%q:%s", name, value))
		}
		return json.RawMessage("{" + strings.Join(members, ",") + "}")
	})
}

func anyToken(t *rapid.T, id string) engine.Token {
	token := engine.Token{
		ID: id, Comment: anyText().Draw(t, "comment"), Created: anyTime().Draw(t, "created"), Expires: anyTime().Draw(t, "expires"),
		LastUsed: anyTime().Draw(t, "used"), OwnerID: anyID().Draw(t, "owner"), CreatorID: anyID().Draw(t, "creator"),
		CreatorName: anyText().Draw(t, "name"), Scopes: anyLists().Draw(t, "scopes"), AutoscopeState: anyText().Draw(t, "state"),
		InferredScopes: anyLists().Draw(t, "inferred"), BackfillScopes: anyLists().Draw(t, "backfill"),
	}
	if rapid.Bool().Draw(t, "defective") {
		token.Defects = []engine.Defect{{Field: "last_used_day", Reason: "bad_type", Value: anyText().Draw(t, "value")}, {Field: "x"}}
	}
	token.Raw = rapid.OneOf(anyRaw(token.LastUsed), rawLike(token)).Draw(t, "raw")
	return token
}

func anyCapture(t *rapid.T) engine.Capture {
	ids := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "\xff", "aa"}), 0, 7, rapid.ID[string]).Draw(t, "ids")
	slices.Sort(ids)
	var tokens []engine.Token
	var principals []engine.Principal
	for _, id := range ids {
		tokens = append(tokens, anyToken(t, id))
		principals = append(principals, engine.Principal{
			ID: id, Kind: engine.User, Name: anyText().Draw(t, "pname"), DisplayName: anyText().Draw(t, "display"),
			Active: rapid.Ptr(rapid.Bool(), true).Draw(t, "active"), Admin: rapid.Ptr(rapid.Bool(), true).Draw(t, "admin"),
			Groups: anyLists().Draw(t, "groups"), Raw: anyRaw(nil).Draw(t, "praw"),
		})
	}
	c := capture("prod", "1", now, tokens, principals)
	for _, name := range []engine.SectionName{engine.SectionTokens, engine.SectionPrincipals} {
		section := c.Sections[name]
		section.Coverage.Status = rapid.SampledFrom([]engine.CoverageStatus{engine.Complete, engine.Complete, engine.Partial, engine.Failed}).Draw(t, "status")
		section.Coverage.Detail = anyText().Draw(t, "detail")
		c.Sections[name] = section
	}
	return c
}

// asStored is a capture's token as it reads back: its raw row in canonical form.
func asStored(tb rapid.TB, t engine.Token) engine.Token {
	raw, err := canonicalRaw(t.Raw, t.ID)
	if err != nil {
		tb.Fatal(err)
	}
	t.Raw = raw
	return t
}

func TestSnapshotsReadBackExactly(t *testing.T) {
	enginetest.NotInRace(t)
	dir := t.TempDir()
	n := 0
	enginetest.Check(t, func(rt *rapid.T) {
		n++
		db, err := Open(context.Background(), filepath.Join(dir, fmt.Sprint(n, ".db")), readWrite)
		if err != nil {
			rt.Fatal(err)
		}
		defer db.Close()
		var captures []engine.Capture
		var saved []engine.Snapshot
		for range rapid.IntRange(2, 4).Draw(rt, "snapshots") {
			captures = append(captures, anyCapture(rt))
			s, err := db.SaveSnapshot(context.Background(), captures[len(captures)-1])
			if err != nil {
				rt.Fatal(err)
			}
			saved = append(saved, s)
		}
		for i, c := range captures {
			checkSnapshot(rt, db, c, saved[i])
			if i > 0 && saved[i].Previous != saved[i-1].Digest {
				rt.Fatal("chain is broken")
			}
		}
	})
}

func checkSnapshot(t *rapid.T, db *DB, c engine.Capture, saved engine.Snapshot) {
	ctx := context.Background()
	stored, err := db.Snapshot(ctx, saved.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(saved, stored); diff != "" {
		t.Fatal(diff)
	}
	if err := db.VerifySnapshot(ctx, saved.ID); err != nil {
		t.Fatal(err)
	}
	var tokens, wantTokens []engine.Token
	from, err := db.reader(ctx, saved.ID)
	if err != nil {
		t.Fatal(err)
	}
	for s, err := range from.tokens(ctx, true) {
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, s.Token)
	}
	if c.Sections[engine.SectionTokens].Coverage.Usable() {
		for token := range c.Sections[engine.SectionTokens].Tokens {
			wantTokens = append(wantTokens, asStored(t, token))
		}
	}
	if diff := cmp.Diff(wantTokens, tokens, sameLists); diff != "" {
		t.Fatal(diff)
	}
	var principals, wantPrincipals []engine.Principal
	for p, err := range db.Principals(ctx, saved.ID) {
		if err != nil {
			t.Fatal(err)
		}
		principals = append(principals, p)
	}
	if section := c.Sections[engine.SectionPrincipals]; section.Coverage.Usable() {
		for _, p := range section.Principals {
			p.Raw = asStored(t, engine.Token{Raw: p.Raw}).Raw
			wantPrincipals = append(wantPrincipals, p)
		}
	}
	if diff := cmp.Diff(wantPrincipals, principals, sameLists); diff != "" {
		t.Fatal(diff)
	}
}

func TestUnchangedRowsAreShared(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	tokens := population(100, 10, "")
	mustSave(t, db, capture("prod", "1", now, tokens, directory(10)))
	first := 0 // tokens used for the first time have a field more in their raw row
	for i := range tokens {
		if i > 0 && tokens[i].LastUsed == nil {
			first++
		}
		tokens[i].LastUsed = new((now.UnixMilli()/engine.Day + 1) * engine.Day)
		tokens[i].Raw = rawOf(tokens[i])
	}
	db2 := mustSave(t, db, capture("prod", "1", now, tokens[1:], directory(10)))
	wantCount(t, db, "SELECT count(*) FROM token_version", 100+first)
	wantCount(t, db, "SELECT count(*) FROM principal_version", 10)
	wantCount(t, db, "SELECT count(*) FROM document", 1)
	mustSave(t, db, capture("prod", "1", now, tokens, directory(10))) // the one that was gone is back
	wantCount(t, db, "SELECT count(DISTINCT token_key) FROM token_version", 100)
	mustSave(t, db, capture("other", "2", now, tokens, directory(10)))
	wantCount(t, db, "SELECT count(DISTINCT token_key) FROM token_version", 200)
	if got := collect(t, db.Subjects(t.Context(), db2.ID, now, true)); len(got) != 99 {
		t.Fatal(len(got))
	}
}

func wantCount(t *testing.T, db *DB, query string, want int) {
	t.Helper()
	var got int
	must(t, db.SQL.QueryRow(query).Scan(&got))
	if got != want {
		t.Fatalf("%s: %d, want %d", query, got, want)
	}
}

func TestUnreadTokensEndNothing(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	tokens := population(20, 4, "")
	mustSave(t, db, capture("prod", "1", now, tokens, nil))
	failed := capture("prod", "1", now, tokens, nil)
	failed.Sections[engine.SectionTokens] = engine.Section{Coverage: engine.Coverage{Status: engine.Failed, Reason: "rate_limited"}, Tokens: tokensOf(tokens[:3]...)}
	second := mustSave(t, db, failed)
	if got := collect(t, db.Subjects(t.Context(), second.ID, now, true)); len(got) != 0 || second.Tokens != 0 {
		t.Fatalf("%d tokens of another snapshot", len(got))
	}
	third := mustSave(t, db, capture("prod", "1", now, tokens, nil))
	wantCount(t, db, "SELECT count(*) FROM token_version", 20)
	if third.Tokens != 20 {
		t.Fatal(third.Tokens)
	}
}

func TestBadCapturesLeaveNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection lost")
	tokens := population(3000, 5, "")
	tests := map[string]struct {
		tokens func(yield func(engine.Token, error) bool)
		reason string
	}{
		"equal ids":   {tokensOf(tokens[0], tokens[0]), "bad_capture"},
		"wrong order": {tokensOf(append(slices.Clone(tokens), tokens[0])...), "bad_capture"},
		"raw no JSON": {tokensOf(engine.Token{ID: "a", Raw: json.RawMessage(`{"a"`)}), "bad_capture"},
		"source fails": {func(yield func(engine.Token, error) bool) {
			if yield(tokens[0], nil) {
				yield(engine.Token{}, broken)
			}
		}, "storage"},
	}
	db := newDB(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := capture("prod", "1", now, nil, nil)
			c.Sections[engine.SectionTokens] = engine.Section{Coverage: complete, Tokens: tt.tokens}
			_, err := db.SaveSnapshot(t.Context(), c)
			wantReason(t, err, tt.reason)
			for _, table := range []string{"snapshot", "section", "token_version", "token_use", "workspace"} {
				wantCount(t, db, "SELECT count(*) FROM "+table, 0)
			}
		})
	}
	c := capture("prod", "1", now, nil, []engine.Principal{{ID: "b"}, {ID: "a"}})
	_, err := db.SaveSnapshot(t.Context(), c)
	wantReason(t, err, "bad_capture")
	c = capture("prod", "1", now, nil, nil)
	c.Sections["x"] = engine.Section{Coverage: complete, Document: json.RawMessage(`{`)}
	_, err = db.SaveSnapshot(t.Context(), c)
	wantReason(t, err, "bad_capture")
}

func TestInterruptedSave(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := capture("prod", "1", now, nil, nil)
	tokens := population(2000, 5, "")
	c.Sections[engine.SectionTokens] = engine.Section{Coverage: complete, Tokens: func(yield func(engine.Token, error) bool) {
		for i, token := range tokens {
			if i == 1000 {
				cancel()
			}
			if !yield(token, nil) {
				return
			}
		}
	}}
	_, err := db.SaveSnapshot(ctx, c)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	wantCount(t, db, "SELECT count(*) FROM snapshot", 0)
	_, err = db.SaveSnapshot(ctx, c)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	mustSave(t, db, capture("prod", "1", now, tokens, nil)) // the pen is free
}

func TestIdentityOfUnreachableWorkspaces(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	unreachable := func(name string) engine.Capture {
		c := capture(name, "", now, nil, nil)
		for section := range c.Sections {
			c.Sections[section] = engine.Section{Coverage: engine.Coverage{Status: engine.Failed}}
		}
		return c
	}
	if got := mustSave(t, db, unreachable("prod")).Workspace.ID; got != "unidentified:prod" {
		t.Fatal(got)
	}
	wantLatest(t, db, "unidentified:prod")
	mustSave(t, db, capture("prod", "1", now, nil, nil))
	wantLatest(t, db, "1")
	if got := mustSave(t, db, unreachable("prod")); got.Workspace.ID != "1" || got.Previous == "" {
		t.Fatal(got)
	}
	elsewhere := unreachable("prod")
	elsewhere.Workspace.Host = "https://moved.example.com"
	if got := mustSave(t, db, elsewhere).Workspace.ID; got != "unidentified:prod" {
		t.Fatal(got)
	}
	mustSave(t, db, capture("alpha", "2", now, nil, nil))
	wantLatest(t, db, "2", "1", "unidentified:prod")
}

func wantLatest(t *testing.T, db *DB, want ...string) {
	t.Helper()
	latest, err := db.Latest(t.Context())
	must(t, err)
	var ids []string
	for _, s := range latest {
		ids = append(ids, s.Workspace.ID)
	}
	if !slices.Equal(ids, want) {
		t.Fatalf("latest are %v, want %v", ids, want)
	}
}

func TestSnapshotsNewestFirst(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for day := range 3 {
		mustSave(t, db, capture("prod", "1", now.AddDate(0, 0, day), nil, nil))
	}
	all, err := db.Snapshots(t.Context())
	must(t, err)
	if len(all) != 3 || all[0].ID != 3 || !all[0].CollectedAt.Equal(now.Add(48*time.Hour)) {
		t.Fatal(all)
	}
	_, err = db.Snapshot(t.Context(), 99)
	wantReason(t, err, "not_found")
	for _, err := range db.Subjects(t.Context(), 99, now, true) {
		wantReason(t, err, "not_found")
	}
}

// Any change of any cell that belongs to a snapshot is noticed.
func TestVerifyNoticesEveryEdit(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	base := editable(t)
	edits := editsOf(t, base)
	random := rand.New(rand.NewPCG(1, 2))
	values := []any{"forged", int64(7), nil, int64(-3), ""}
	for made, n := 0, 0; made < editsToMake(t) || n < len(edits)*len(values); n++ { // each column by each value, then any
		e := edits[random.IntN(len(edits))]
		if n < len(edits)*len(values) {
			e = edits[n%len(edits)]
		}
		e.row, e.value = random.IntN(60), values[random.IntN(len(values))]
		if n < len(edits)*len(values) {
			e.value = values[n/len(edits)]
		}
		path := filepath.Join(t.TempDir(), "x.db")
		copyFile(t, base, path)
		if !e.apply(t, path) {
			continue
		}
		made++
		db := mustOpen(t, path, Options{Mode: ReadOnly, Now: clock})
		err := errors.Join(db.VerifySnapshot(t.Context(), 1), db.VerifySnapshot(t.Context(), 2))
		if reason, ok := engine.AsError(err); !ok || (reason.Reason != "digest_mismatch" && reason.Reason != "not_found") {
			t.Errorf("%+v passes: %v", e, err)
		}
		sameTogether(t, db, 1, 2)
		must(t, db.Close())
	}
}

// editsToMake is 100, or what PATROLTEST_TORTURE_EDITS says.
func editsToMake(t *testing.T) int {
	text, set := os.LookupEnv("PATROLTEST_TORTURE_EDITS")
	if !set {
		return 100
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

func editable(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "base.db")
	db := mustOpen(t, path, readWrite)
	tokens := population(40, 8, "")
	for i := range tokens {
		tokens[i].InferredScopes, tokens[i].BackfillScopes = []string{"jobs"}, []string{"sql"}
		tokens[i].Defects = []engine.Defect{{Field: "x", Reason: "bad_type", Value: "y"}}
	}
	mustSave(t, db, capture("prod", "1", now, tokens, directory(8)))
	mustSave(t, db, capture("prod", "1", now, tokens[3:], directory(7)))
	must(t, db.verifyLatest(t.Context()))
	must(t, db.Close())
	return path
}

// edit changes one cell behind the store's back.
type edit struct {
	table, column string
	row           int
	value         any
}

// editsOf lists the columns whose content belongs to snapshots. Numbers of rows
// and the ends of ranges mean nothing by themselves; TestVerifyNoticesRanges
// looks at those.
func editsOf(t *testing.T, path string) []edit {
	db := mustOpen(t, path, Options{Mode: ReadOnly, Now: clock})
	skip := []string{"key", "id", "version", "token_key", "until", "since"}
	var edits []edit
	for _, table := range []string{"workspace", "snapshot", "section", "document", "principal_version", "token_version", "token_use", "raw_shape"} {
		for c, err := range sqlite.Scan(t.Context(), db.SQL, "SELECT name FROM pragma_table_info(?)", table) {
			must(t, err)
			if name := c.Text(); !slices.Contains(skip, name) {
				edits = append(edits, edit{table: table, column: name})
			}
		}
	}
	must(t, db.Close())
	return edits
}

// apply reports whether the cell was changed: STRICT, NOT NULL and UNIQUE
// refuse many edits.
func (e edit) apply(t *testing.T, path string) bool {
	db := rawHandle(t, path)
	defer db.Close()
	key := map[string]string{
		"workspace": "key", "snapshot": "id", "section": "snapshot_id || name", "document": "digest",
		"principal_version": "version", "token_version": "version", "token_use": "token_key", "raw_shape": "key",
	}[e.table]
	var rows int
	must(t, db.QueryRow("SELECT count(*) FROM "+e.table).Scan(&rows))
	var at any
	must(t, db.QueryRow(fmt.Sprintf("SELECT %s FROM %s ORDER BY 1 LIMIT 1 OFFSET %d", key, e.table, e.row%rows)).Scan(&at))
	result, err := db.Exec(fmt.Sprintf("UPDATE %s SET %s = ?1 WHERE %s = ?2 AND %s IS NOT ?1", e.table, e.column, key, e.column), e.value, at)
	if err != nil {
		return false
	}
	n, err := result.RowsAffected()
	must(t, err)
	return n > 0
}

func TestVerifyNoticesRanges(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	for _, statement := range []string{
		"UPDATE token_version SET until = 2 WHERE version = 5", "UPDATE token_version SET since = 2 WHERE version = 5",
		"UPDATE principal_version SET until = NULL WHERE until IS NOT NULL", "DELETE FROM token_version WHERE version = 9",
		"DELETE FROM token_use WHERE token_key = 2", "UPDATE token_use SET since = since + 1 WHERE token_key = 2", "DELETE FROM section WHERE name = 'grants'",
		"DELETE FROM document", "UPDATE section SET document = NULL",
	} {
		path := editable(t)
		db := rawHandle(t, path)
		result, err := db.Exec(statement)
		must(t, err)
		if n, _ := result.RowsAffected(); n == 0 {
			t.Errorf("%s changes nothing", statement)
		}
		must(t, db.Close())
		opened := mustOpen(t, path, readWrite)
		wantReason(t, errors.Join(opened.VerifySnapshot(t.Context(), 1), opened.VerifySnapshot(t.Context(), 2)), "digest_mismatch")
	}
}

// A workspace whose rows all have fields of their own costs space, not memory.
func TestShapesAreBounded(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	db := newDB(t)
	tokens := population(maxShapes+100, 10, "")
	for i := range tokens {
		tokens[i].Raw = fmt.Appendf(nil, `{"token_id":%q,"unheard_of":%d}`, tokens[i].ID, i)
	}
	s := mustSave(t, db, capture("prod", "1", now, tokens, nil))
	must(t, db.VerifySnapshot(t.Context(), s.ID))
	wantCount(t, db, "SELECT count(*) FROM raw_shape", maxShapes)
	mustSave(t, db, capture("prod", "1", now, tokens, nil))
	wantCount(t, db, "SELECT count(*) FROM token_version", maxShapes+100)
	for i, token := range tokensIn(t, db, s.ID) {
		if string(token.Raw) != string(tokens[i].Raw) {
			t.Fatal(string(token.Raw))
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		`{}`: `{}`, ` [ 1 , 2 ] `: `[1,2]`, `"a"`: `"a"`, `1.50`: `1.50`,
		`{"b":1,"a":2}`: `{"a":2,"b":1}`,
		`{"a":{"d":1,"c":[{"f":1,"e":2}]},"B":0}`: `{"B":0,"a":{"c":[{"e":2,"f":1}],"d":1}}`,
		`[{"b":1,"a":2},3,{"d":1,"c":2}]`:         `[{"a":2,"b":1},3,{"c":2,"d":1}]`,
		`{"a":1,"a":2,"A":"}\"{"}`:                `{"A":"}\"{","a":1,"a":2}`,
		`{"a ":1,"a":2}`:                          `{"a":2,"a ":1}`,
	}
	for text, want := range tests {
		got, err := canonical(json.RawMessage(text))
		if err != nil || got != want {
			t.Errorf("%s: %s (%v), want %s", text, got, err, want)
		}
		if again, _ := canonical(json.RawMessage(got)); again != got {
			t.Errorf("%s is not stable", got)
		}
	}
	for _, bad := range []string{``, `{`, `{"a":1}x`, "{\"a\":\"\x01\"}"} {
		if _, err := canonical(json.RawMessage(bad)); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestListsRoundTrip(t *testing.T) {
	enginetest.Check(t, func(rt *rapid.T) {
		list := rapid.SliceOf(anyText()).Draw(rt, "list")
		text, _ := encodeList(list).(string)
		got, err := decodeList(text)
		if err != nil || !slices.Equal(got, list) {
			rt.Fatalf("%q: %q, %v", list, got, err)
		}
	})
	for _, bad := range []string{`[`, `[]`, `["a"`, `["a" ]`, `["a",]`, `["\q"]`, `["\u00zz"]`, `[1]`, `"a"`, `["a]`} {
		if _, err := decodeList(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
