package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

var readWrite = Options{Mode: ReadWrite, Now: clock}

func mustOpen(tb testing.TB, path string, o Options) *DB {
	tb.Helper()
	db, err := Open(tb.Context(), path, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return db
}

func newDB(tb testing.TB) *DB {
	tb.Helper()
	return mustOpen(tb, filepath.Join(tb.TempDir(), "patrol.db"), readWrite)
}

func mustSave(tb testing.TB, db *DB, c engine.Capture) engine.Snapshot {
	tb.Helper()
	s, err := db.SaveSnapshot(context.Background(), c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func wantReason(t *testing.T, err error, reason string) {
	t.Helper()
	e, ok := engine.AsError(err)
	if !ok || e.Reason != reason || e.Hint == "" {
		t.Fatalf("got %#v (%v), want reason %s with a hint", err, err, reason)
	}
}

func collect[T any](t testing.TB, rows iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for row, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

// tokensIn are the tokens of a snapshot with their raw rows.
func tokensIn(t testing.TB, db *DB, id int64) (tokens []engine.Token) {
	t.Helper()
	r, err := db.reader(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range collect(t, r.tokens(t.Context(), true)) {
		tokens = append(tokens, token.Token)
	}
	return tokens
}

// tokensOf turns a list into what a capture carries.
func tokensOf(tokens ...engine.Token) iter.Seq2[engine.Token, error] {
	return func(yield func(engine.Token, error) bool) {
		for _, t := range tokens {
			if !yield(t, nil) {
				return
			}
		}
	}
}

var complete = engine.Coverage{Status: engine.Complete}

func capture(name, id string, at time.Time, tokens []engine.Token, principals []engine.Principal) engine.Capture {
	return engine.Capture{
		Workspace:   engine.Workspace{ID: id, Name: name, Host: "https://" + name + ".example.com", Cloud: "aws", Labels: map[string]string{"env": "prod"}},
		CollectedAt: at,
		Sections: map[engine.SectionName]engine.Section{
			engine.SectionTokens:     {Coverage: engine.Coverage{Status: engine.Complete, Count: len(tokens)}, Tokens: tokensOf(tokens...)},
			engine.SectionPrincipals: {Coverage: engine.Coverage{Status: engine.Complete, Count: len(principals)}, Principals: principals},
			engine.SectionSettings:   {Coverage: complete, Document: json.RawMessage(`{"maxTokenLifetimeDays": {"value":"90"}, "a": {"value":null}}`)},
			engine.SectionGrants:     {Coverage: engine.Coverage{Status: engine.Denied, Reason: "denied", Detail: "asked", Hint: "be admin"}},
		},
	}
}

func tokenID(i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "token %d", i))
	return hex.EncodeToString(sum[:])
}

// population makes n tokens as a workspace of some size has them, sorted by id.
// Churn changes the comments of those tokens that it divides.
func population(n, owners int, churn string) []engine.Token {
	tokens := make([]engine.Token, n)
	for i := range tokens {
		created := now.UnixMilli() - int64(i%700)*engine.Day - 12345
		expires := created + 90*engine.Day
		owner := fmt.Sprint(5_000_000_000_000_000 + i%owners)
		t := engine.Token{
			ID: tokenID(i), Comment: fmt.Sprintf("job %d %s", i, churn), Created: &created, Expires: &expires,
			OwnerID: owner, CreatorID: owner, CreatorName: fmt.Sprintf("user%d@example.com", i%owners), AutoscopeState: "disabled",
		}
		if i%3 > 0 {
			t.LastUsed = new((now.UnixMilli()/engine.Day - int64(i%50)) * engine.Day)
		}
		if i%5 == 0 {
			t.Scopes = []string{"sql", "clusters"}
		}
		t.Raw = rawOf(t)
		tokens[i] = t
	}
	slices.SortFunc(tokens, func(a, b engine.Token) int { return strings.Compare(a.ID, b.ID) })
	return tokens
}

func rawOf(t engine.Token) json.RawMessage {
	used := ""
	if t.LastUsed != nil {
		used = fmt.Sprintf(`"last_used_day":%d,`, *t.LastUsed)
	}
	return fmt.Appendf(nil, `{"comment":%q,"created_by_id":%s,"created_by_username":%q,"creation_time":%d,"expiry_time":%d,%s"owner_id":%s,"token_id":%q,"workspace_id":123456789012345}`,
		t.Comment, t.CreatorID, t.CreatorName, *t.Created, *t.Expires, used, t.OwnerID, t.ID)
}

func directory(n int) []engine.Principal {
	principals := make([]engine.Principal, n)
	for i := range principals {
		id := fmt.Sprint(5_000_000_000_000_000 + i)
		principals[i] = engine.Principal{
			ID: id, Kind: engine.User, Name: fmt.Sprintf("user%d@example.com", i), DisplayName: fmt.Sprintf("User %d", i),
			Active: new(i%4 != 0), Admin: new(i%50 == 0), Groups: []string{"everyone", fmt.Sprintf("team%d", i%10)},
			Raw: fmt.Appendf(nil, `{"id":%q,"userName":"user%d@example.com"}`, id, i),
		}
	}
	return principals
}
