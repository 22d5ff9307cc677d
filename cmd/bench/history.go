package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/store"
)

// history makes a database of daily snapshots in which 1 % of the tokens are
// replaced each day and 60 % are used, and measures what a day of the past costs.
func (b *bench) history(ctx context.Context) error {
	first := time.Date(2025, 11, 24, 6, 0, 0, 0, time.UTC)
	size, took, err := b.remember(ctx, first)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d daily snapshots of %d tokens: %.0f MB, of which %.2f MB for each day after the first; saving a day took %.2f s.\n",
		b.days, b.tokens, float64(size[1])/1e6, float64(size[1]-size[0])/1e6/float64(max(b.days-1, 1)), took.Seconds()/float64(b.days))
	middle := b.days/2 + 1
	// Sections that this history leaves out make results of an evaluation incomplete.
	stored := func(format string, values ...any) job {
		return job{args: append(strings.Fields(fmt.Sprintf(format, values...)), "-q", "--db", "history.db"), found: []int{4}, output: "out", binary: b.sides[0].binary}
	}
	_, err = b.table(ctx, fmt.Sprintf("history of %d days", b.days), []step{
		{"diff of two days", stored("snapshots diff %d %d --format csv", middle, middle+1)},
		{"diff of first and last", stored("snapshots diff 1 %d --format csv", b.days)},
		{"verify all", stored("snapshots verify")},
		{"evaluate of the newest", stored("evaluate --snapshot %d --fail-on none", b.days)},
		{"evaluate of the middle", stored("evaluate --snapshot %s --fail-on none", first.AddDate(0, 0, middle-1).Format(time.DateOnly))},
		{"forecast of 30 days", stored("forecast --days 30 --format csv")},
		{"forecast of 90 days", stored("forecast --days 90 --format csv")},
	})
	return err
}

// remember saves the days, each by a database opened anew, as daily runs do. It
// tells the size of the database after the first day and after the last.
func (b *bench) remember(ctx context.Context, first time.Time) (size [2]int64, took time.Duration, err error) {
	begin := time.Now()
	for day := range b.days {
		db, err := store.Open(ctx, b.sides[0].path("history.db"), store.Options{Mode: store.ReadWrite, Now: time.Now})
		if err != nil {
			return size, 0, err
		}
		_, err = db.SaveSnapshot(ctx, b.capture(day, first.AddDate(0, 0, day)))
		if err := errors.Join(err, db.Close()); err != nil {
			return size, 0, err
		}
		info, err := os.Stat(b.sides[0].path("history.db"))
		if err != nil {
			return size, 0, err
		}
		if size[1] = info.Size(); day == 0 {
			size[0] = size[1]
		}
	}
	return size, time.Since(begin), nil
}

// capture is the workspace as it is on a day.
func (b *bench) capture(day int, at time.Time) engine.Capture {
	complete := func(n int) engine.Coverage { return engine.Coverage{Status: engine.Complete, Count: n} }
	return engine.Capture{
		Workspace:   engine.Workspace{ID: "1234567890123456", Name: "prod", Host: "https://prod.example.com", Cloud: "aws"},
		CollectedAt: at,
		Sections: map[engine.SectionName]engine.Section{
			engine.SectionTokens:     {Coverage: complete(b.tokens), Tokens: tokensOn(b.tokens, day, at)},
			engine.SectionPrincipals: {Coverage: complete(owners), Principals: people()},
			engine.SectionSettings:   {Coverage: complete(1), Document: json.RawMessage(`{"maxTokenLifetimeDays":{"value":"90"}}`)},
			engine.SectionGrants:     {Coverage: complete(0), Document: json.RawMessage(`[]`)},
		},
	}
}

const owners = 2000

func people() []engine.Principal {
	all := make([]engine.Principal, owners)
	for i := range all {
		id := ownerID(i)
		all[i] = engine.Principal{ID: id, Kind: engine.User, Name: fmt.Sprintf("user%d@example.com", i), Active: new(true), Raw: fmt.Appendf(nil, `{"id":%q}`, id)}
	}
	return all
}

func ownerID(i int) string { return fmt.Sprint(5_000_000_000_000_000 + i) }

// tokensOn are the tokens of a day, ascending by id. Token i is replaced every
// hundred days, a hundredth of all each day.
func tokensOn(n, day int, at time.Time) iter.Seq2[engine.Token, error] {
	tokens := make([]engine.Token, n)
	for i := range tokens {
		tokens[i] = tokenOn(i, day, at)
	}
	slices.SortFunc(tokens, func(a, b engine.Token) int { return strings.Compare(a.ID, b.ID) })
	return func(yield func(engine.Token, error) bool) {
		for _, t := range tokens {
			if !yield(t, nil) {
				return
			}
		}
	}
}

func tokenOn(i, day int, at time.Time) engine.Token {
	generation := (day + i%100) / 100
	sum := sha256.Sum256(fmt.Appendf(nil, "token %d.%d", i, generation))
	born := at.AddDate(0, 0, generation*100-i%100-day)
	created, owner := born.UnixMilli()-int64(i%1000)*3_600, ownerID(i%owners)
	t := engine.Token{
		ID: hex.EncodeToString(sum[:]), Comment: fmt.Sprintf("job %d", i), Created: &created, Expires: new(created + 180*engine.Day),
		OwnerID: owner, CreatorID: owner, CreatorName: fmt.Sprintf("user%d@example.com", i%owners), AutoscopeState: "disabled",
	}
	used := at.UnixMilli() / engine.Day * engine.Day
	if i%5 >= 3 { // two of five are not used daily: once, when they were made
		used = created / engine.Day * engine.Day
	}
	t.LastUsed = &used
	t.Raw = fmt.Appendf(nil, `{"comment":%q,"created_by_id":%s,"created_by_username":%q,"creation_time":%d,"expiry_time":%d,"last_used_day":%d,"owner_id":%s,"token_id":%q,"workspace_id":1234567890123456}`,
		t.Comment, t.CreatorID, t.CreatorName, created, *t.Expires, used, owner, t.ID)
	return t
}
