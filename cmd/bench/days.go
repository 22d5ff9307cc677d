package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/store"
)

// firstDay is the first of the history.
var firstDay = time.Date(2025, 11, 24, 6, 0, 0, 0, time.UTC)

// daily makes a database of daily snapshots in which 1 % of the tokens are
// replaced each day and 60 % are used, and measures what a day of the past costs,
// and what it costs to compare with the evaluation before.
func (b *bench) daily(ctx context.Context) error {
	if b.days < 3 {
		return fmt.Errorf("%d days are too few", b.days)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	const history, judged = "history.db", "judged.db"
	// In a process of its own, because it takes memory (see peakBytes).
	fill := exec.CommandContext(ctx, program, "-fill", b.sides[0].path(history), "-days", fmt.Sprint(b.days), "-tokens", fmt.Sprint(b.tokens))
	fill.Stdout, fill.Stderr = os.Stdout, os.Stderr
	if err := fill.Run(); err != nil {
		return err
	}
	// Only this commit reads the database that this commit has made.
	ours := func(s step) step { s.binary = b.sides[0].binary; return s }
	evaluate := func(name, from string, day int) step {
		s := offline(name, "run.db", fmt.Sprintf("evaluate --snapshot %d --fail-on none", day))
		s.fresh, s.from = "run.db", from
		return ours(s)
	}
	if err := copyFile(b.sides[0].path(judged), b.sides[0].path(history)); err != nil {
		return err
	}
	if _, err := b.measure(ctx, b.sides[0], ours(offline("", judged, fmt.Sprintf("evaluate --snapshot %d --fail-on none", b.days-1)))); err != nil {
		return err
	}
	middle := b.days/2 + 1
	diff := fmt.Sprintf("snapshots diff %d %d --format csv", middle, middle+1)
	costs, err := b.table(ctx, fmt.Sprintf("%d days of %d tokens", b.days, b.tokens), []step{
		ours(offline("diff of two days", history, diff)),
		ours(offline("diff of first and last", history, fmt.Sprintf("snapshots diff 1 %d --format csv", b.days))),
		ours(offline("verify all", history, "snapshots verify")),
		evaluate("evaluate, for the first time", history, b.days),
		evaluate("evaluate, with one before", judged, b.days),
		evaluate("evaluate of the middle", history, middle),
		ours(offline("forecast of 90 days", history, "forecast --days 90 --format csv")),
	})
	if err != nil {
		return err
	}
	b.timeGoal("diff of two days, warm, over a second", costs["diff of two days"][0], cost{wall: time.Second, cpu: time.Second}, "≤", 1)
	b.timeGoal("evaluate with one before (since and trend) over the first", costs["evaluate, with one before"][0], costs["evaluate, for the first time"][0], "≤", 1.1)
	return nil
}

// saveDays makes the history, each day by a database opened anew, as daily runs do.
func saveDays(ctx context.Context, path string, days, tokens int) error {
	begin := time.Now()
	var sizes []int64
	for day := range days {
		db, err := store.Open(ctx, path, store.Options{Mode: store.ReadWrite, Now: time.Now})
		if err != nil {
			return err
		}
		_, err = db.SaveSnapshot(ctx, captureOf(tokens, day))
		if err := errors.Join(err, db.Close()); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		sizes = append(sizes, info.Size())
	}
	first, last := float64(sizes[0])/1e6, float64(sizes[len(sizes)-1])/1e6
	fmt.Printf("\n%d daily snapshots of %d tokens: %.0f MB, of which %.2f MB for each day after the first; saving a day took %.2f s.\n",
		days, tokens, last, (last-first)/float64(max(days-1, 1)), time.Since(begin).Seconds()/float64(days))
	return nil
}

// captureOf is the workspace as it is on a day.
func captureOf(tokens, day int) engine.Capture {
	const owners = 2000
	at := firstDay.AddDate(0, 0, day)
	ownerID := func(i int) string { return fmt.Sprint(5_000_000_000_000_000 + i%owners) }
	ownerName := func(i int) string { return fmt.Sprintf("user%d@example.com", i%owners) }
	people := make([]engine.Principal, owners)
	for i := range people {
		people[i] = engine.Principal{ID: ownerID(i), Kind: engine.User, Name: ownerName(i), Active: new(true), Raw: fmt.Appendf(nil, `{"id":%q}`, ownerID(i))}
	}
	rows := make([]engine.Token, tokens)
	for i := range rows {
		// Token i is replaced every hundred days, a hundredth of all each day.
		generation := (day + i%100) / 100
		sum := sha256.Sum256(fmt.Appendf(nil, "token %d.%d", i, generation))
		created := firstDay.AddDate(0, 0, generation*100-i%100).UnixMilli() - int64(i%1000)*3_600
		used := at.UnixMilli() / engine.Day * engine.Day
		if i%5 >= 3 { // two of five are not used daily: once, when they were made
			used = created / engine.Day * engine.Day
		}
		t := engine.Token{
			ID: hex.EncodeToString(sum[:]), Comment: fmt.Sprintf("job %d", i), Created: &created, Expires: new(created + 180*engine.Day), LastUsed: &used,
			OwnerID: ownerID(i), CreatorID: ownerID(i), CreatorName: ownerName(i), AutoscopeState: "disabled",
		}
		t.Raw = fmt.Appendf(nil, `{"comment":%q,"created_by_id":%s,"created_by_username":%q,"creation_time":%d,"expiry_time":%d,"last_used_day":%d,"owner_id":%s,"token_id":%q,"workspace_id":1234567890123456}`,
			t.Comment, t.CreatorID, t.CreatorName, created, *t.Expires, used, t.OwnerID, t.ID)
		rows[i] = t
	}
	slices.SortFunc(rows, func(a, b engine.Token) int { return strings.Compare(a.ID, b.ID) })
	ascending := func(yield func(engine.Token, error) bool) {
		for _, t := range rows {
			if !yield(t, nil) {
				return
			}
		}
	}
	complete := func(n int) engine.Coverage { return engine.Coverage{Status: engine.Complete, Count: n} }
	return engine.Capture{
		Workspace:   engine.Workspace{ID: "1234567890123456", Name: "prod", Host: "https://prod.example.com", Cloud: "aws"},
		CollectedAt: at,
		Sections: map[engine.SectionName]engine.Section{
			engine.SectionTokens:     {Coverage: complete(tokens), Tokens: ascending},
			engine.SectionPrincipals: {Coverage: complete(owners), Principals: people},
			engine.SectionSettings:   {Coverage: complete(1), Document: json.RawMessage(`{"maxTokenLifetimeDays":{"value":"90"}}`)},
			engine.SectionGrants:     {Coverage: complete(0), Document: json.RawMessage(`[]`)},
		},
	}
}
