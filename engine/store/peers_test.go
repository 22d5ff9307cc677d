package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func hours(n int) *int64 { return new(now.UnixMilli() + int64(n)*3_600_000) }

func among(t testing.TB, db *DB, s engine.Snapshot, at time.Time) map[string]engine.Peers {
	t.Helper()
	all := map[string]engine.Peers{}
	for _, subject := range collect(t, db.Subjects(t.Context(), s.ID, at, true)) {
		all[subject.Token.ID] = *subject.Peers
	}
	return all
}

func kin(id, owner, comment string, created, expires, used *int64) engine.Token {
	return engine.Token{ID: id, OwnerID: owner, CreatorID: owner, Comment: comment, Created: created, Expires: expires, LastUsed: used}
}

func TestSuccessors(t *testing.T) {
	t.Parallel()
	never := new(engine.NeverExpires)
	tokens := []engine.Token{
		kin("a1", "1", "job", hours(-300), never, hours(-200)),
		kin("a2", "1", "job", hours(-200), never, hours(-1)),    // used last
		kin("a3", "1", "job", hours(-100), never, hours(-2)),    // newest
		kin("a4", "1", "job", hours(-50), never, nil),           // not in use
		kin("a5", "1", "job", hours(-40), hours(-1), hours(-3)), // has expired
		kin("b1", "1", "", hours(-300), never, nil),             // no comment
		kin("b2", "1", "", hours(-200), never, hours(-1)),
		kin("c1", "2", "job", hours(-300), never, nil), // another owner
		kin("d1", "", "job", hours(-300), never, nil),  // no owner
		kin("d2", "", "job", hours(-200), never, hours(-1)),
		kin("e1", "3", "job", hours(-200), never, nil), // made at the same moment
		kin("e2", "3", "job", hours(-200), never, hours(-1)),
		kin("f1", "4", "job", hours(-300), hours(-2), nil), // expired itself
		kin("f2", "4", "job", hours(-200), never, hours(-1)),
		kin("g1", "5", "job", hours(-300), never, nil), // a sibling of unknown age
		kin("g2", "5", "job", nil, never, hours(-1)),
		kin("h1", "6", "job", hours(-300), never, nil), // a sibling of unknown use
		kin("h2", "6", "job", hours(-200), never, nil),
		kin("i1", "7", "job", hours(-300), nil, nil), // expiry unknown: counts as live
		kin("i2", "7", "job", hours(-200), nil, hours(-1)),
	}
	tokens[17].Defects = []engine.Defect{{Field: "last_used_day", Reason: "bad_type"}}
	want := map[string]string{"a1": "a2", "a2": "a3", "i1": "i2"}
	doubt := []string{"g1", "g2", "h1"}

	db := newDB(t)
	s := mustSave(t, db, capture("prod", "1", now, tokens, nil))
	for id, got := range among(t, db, s, now) {
		successor := ""
		if got.Successor != nil {
			successor = got.Successor.ID
		}
		if successor != want[id] || got.SuccessorUnknown != slices.Contains(doubt, id) {
			t.Errorf("%s: %q, unknown %v", id, successor, got.SuccessorUnknown)
		}
	}
	first := among(t, db, s, now)["a1"].Successor
	if diff := cmp.Diff(&engine.Successor{ID: "a2", Created: *hours(-200), LastUsed: *hours(-1)}, first); diff != "" {
		t.Error(diff)
	}
}

func TestExpiringNear(t *testing.T) {
	t.Parallel()
	expire := func(id, owner string, at *int64) engine.Token { return kin(id, owner, "", hours(-300), at, nil) }
	tokens := []engine.Token{
		expire("a", "1", hours(100)),
		expire("b", "1", hours(124)), // a day later, to the millisecond
		expire("c", "2", hours(100)),
		expire("d", "1", new(*hours(124)+1)),
		expire("e", "1", hours(-1)),
		expire("f", "1", new(engine.NeverExpires)),
		expire("g", "1", nil),
		expire("h", "", hours(100)),
	}
	want := map[string][2]string{
		"a": {"2", "4"}, "b": {"3", "5"}, "c": {"1", "4"}, "d": {"2", "2"}, "e": {"-", "-"}, "f": {"-", "-"}, "g": {"-", "-"}, "h": {"-", "4"},
	}
	db := newDB(t)
	s := mustSave(t, db, capture("prod", "1", now, tokens, nil))
	mustSave(t, db, capture("other", "2", now, tokens, nil)) // counts for itself
	for id, got := range among(t, db, s, now) {
		if text := [2]string{number(got.OwnerExpiringNear), number(got.WorkspaceExpiringNear)}; text != want[id] {
			t.Errorf("%s: %v, want %v", id, text, want[id])
		}
	}
	if got := among(t, db, s, now.Add(101*time.Hour))["a"]; got.WorkspaceExpiringNear != nil {
		t.Error("an expired token expires near others")
	}
}

func number(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

// TestPrevious: new is what the complete snapshot before did not hold; one that
// was read in part, or not at all, tells nothing.
func TestPrevious(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	token := func(id, comment string) engine.Token { return kin(id, "1", comment, hours(-1), hours(1), nil) }
	save := func(day int, status engine.CoverageStatus, tokens ...engine.Token) engine.Snapshot {
		c := capture("prod", "1", now.AddDate(0, 0, day), tokens, nil)
		section := c.Sections[engine.SectionTokens]
		section.Coverage.Status = status
		c.Sections[engine.SectionTokens] = section
		return mustSave(t, db, c)
	}
	first := save(0, engine.Complete, token("a", ""), token("b", ""), token("c", ""))
	denied := save(1, engine.Denied)
	second := save(2, engine.Complete, token("a", ""), token("b", "changed"), token("d", ""))
	partial := save(3, engine.Partial, token("d", ""), token("e", ""))
	third := save(4, engine.Complete, token("a", ""), token("c", ""), token("e", ""))

	for _, test := range []struct {
		s    engine.Snapshot
		want string
	}{
		{first, "a:- b:- c:-"}, {denied, ""}, {second, "a:true b:true d:false"}, {partial, "d:true e:false"}, {third, "a:true c:false e:false"},
	} {
		var got []string
		all := among(t, db, test.s, now)
		for _, id := range engine.SortedKeys(all) {
			text := "-"
			if in := all[id].InPrevious; in != nil {
				text = fmt.Sprint(*in)
			}
			got = append(got, id+":"+text)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("snapshot %d: %v, want %s", test.s.ID, got, test.want)
		}
	}
	if seen := among(t, db, third, now); *seen["c"].FirstSeen != now.UnixMilli() || *seen["e"].FirstSeen != now.AddDate(0, 0, 3).UnixMilli() {
		t.Error(seen)
	}
}

func activitiesOf(all ...engine.Activity) iter.Seq2[engine.Activity, error] {
	return func(yield func(engine.Activity, error) bool) {
		for _, a := range all {
			if !yield(a, nil) {
				return
			}
		}
	}
}

func withLog(c engine.Capture, all iter.Seq2[engine.Activity, error]) engine.Capture {
	c.Sections[engine.SectionAuditLog] = engine.Section{Coverage: complete, Document: json.RawMessage(`{"rows":2}`), Activity: all}
	return c
}

func TestActivity(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	tokens := population(3, 1, "")
	slices.SortFunc(tokens, func(a, b engine.Token) int { return strings.Compare(a.ID, b.ID) })
	want := engine.Activity{TokenID: tokens[1].ID, Events: 7, First: 1, Last: 2, MaxIPsPerDay: 3, UserAgents: []string{"a", "b\x1b"}, Detail: &engine.ActivityDetail{
		Days: 2, Succeeded: 6, Refused: 1, Addresses: 3, TopAddress: "192.0.2.1", MoreCalls: 1, Calls: []engine.Call{{Service: "jobs", Action: "runNow", Events: 7, Refused: 1}},
	}}
	other := engine.Activity{TokenID: "zz", Detail: &engine.ActivityDetail{Days: 1}} // of a token that is gone, from no address that is told
	plain := mustSave(t, db, capture("prod", "1", now, tokens, nil))
	s := mustSave(t, db, withLog(capture("prod", "1", now, tokens, nil), activitiesOf(other, want)))
	must(t, db.VerifySnapshot(t.Context(), s.ID))
	for id, got := range among(t, db, s, now) {
		if id != want.TokenID && got.Activity != nil {
			t.Errorf("%s: %+v", id, got.Activity)
		}
		if id == want.TokenID && cmp.Diff(&want, got.Activity) != "" {
			t.Error(cmp.Diff(&want, got.Activity))
		}
	}
	for id, got := range among(t, db, plain, now) {
		if got.Activity != nil {
			t.Errorf("%s has a log of another snapshot", id)
		}
	}
	reversed := mustSave(t, newDB(t), withLog(capture("prod", "1", now, tokens, nil), activitiesOf(want, other)))
	straight := mustSave(t, newDB(t), withLog(capture("prod", "1", now, tokens, nil), activitiesOf(other, want)))
	if reversed.Digest != straight.Digest {
		t.Error("the digest depends on the order of the log")
	}
	if _, err := db.SQL.Exec(`UPDATE token_activity SET max_ips_per_day = 1 WHERE token_id = ?`, want.TokenID); err != nil {
		t.Fatal(err)
	}
	wantReason(t, db.VerifySnapshot(t.Context(), s.ID), "digest_mismatch")
}

func TestActivityThatCannotBeRead(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	broken := errors.New("line 3")
	_, err := db.SaveSnapshot(t.Context(), withLog(capture("prod", "1", now, nil, nil), func(yield func(engine.Activity, error) bool) {
		yield(engine.Activity{}, broken)
	}))
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	twice := activitiesOf(engine.Activity{TokenID: "a"}, engine.Activity{TokenID: "a"})
	if _, err := db.SaveSnapshot(t.Context(), withLog(capture("prod", "1", now, nil, nil), twice)); err == nil {
		t.Fatal("a token stands twice")
	}
	if left, err := db.Snapshots(t.Context()); len(left) != 0 || err != nil {
		t.Fatal(left, err)
	}
}

// TestAmongIsWhatLoopsFind compares the windows with loops over all pairs.
func TestAmongIsWhatLoopsFind(t *testing.T) {
	at, db, id := now.UnixMilli(), newDB(t), 0
	enginetest.Check(t, func(r *rapid.T) {
		maybe := func(label string, low, high int) *int64 {
			if rapid.IntRange(0, 5).Draw(r, label+"?") == 0 {
				return nil
			}
			return hours(rapid.IntRange(low, high).Draw(r, label))
		}
		var tokens []engine.Token
		for i := range rapid.IntRange(0, 12).Draw(r, "tokens") {
			token := kin(fmt.Sprintf("%02d", i), rapid.SampledFrom([]string{"", "1", "2"}).Draw(r, "owner"),
				rapid.SampledFrom([]string{"", "x", "y z"}).Draw(r, "comment"), maybe("created", -9, 0), maybe("expires", -9, 60), maybe("used", -9, 0))
			if rapid.IntRange(0, 4).Draw(r, "endless") == 0 {
				token.Expires = new(engine.NeverExpires)
			}
			if token.LastUsed == nil && rapid.Bool().Draw(r, "defect") {
				token.Defects = []engine.Defect{{Field: "last_used_day", Reason: "bad_type"}}
			}
			tokens = append(tokens, token)
		}
		id++
		s, err := db.SaveSnapshot(context.Background(), capture("prod", fmt.Sprint(id), now, tokens, nil))
		if err != nil {
			r.Fatal(err)
		}
		for id, got := range among(t, db, s, now) {
			want := loops(tokens, id, at)
			got.FirstSeen = nil
			if diff := cmp.Diff(want, got); diff != "" {
				r.Errorf("%s: %s", id, diff)
			}
		}
	})
}

func loops(tokens []engine.Token, id string, at int64) (want engine.Peers) {
	me := tokens[slices.IndexFunc(tokens, func(t engine.Token) bool { return t.ID == id })]
	live := func(t engine.Token) bool { return t.Expires == nil || *t.Expires == -1 || *t.Expires > at }
	dated := func(t engine.Token) bool { return t.Expires != nil && *t.Expires > at }
	var owner, workspace int64
	var best *engine.Token
	for _, t := range tokens {
		if dated(me) && dated(t) && max(*t.Expires-*me.Expires, *me.Expires-*t.Expires) <= engine.Day {
			workspace++
			if t.OwnerID == me.OwnerID {
				owner++
			}
		}
		if t.ID == id || me.OwnerID == "" || me.Comment == "" || t.OwnerID != me.OwnerID || t.Comment != me.Comment || !live(me) || !live(t) {
			continue
		}
		switch {
		case me.Created == nil, t.Created == nil, *t.Created > *me.Created && len(t.Defects) > 0:
			want.SuccessorUnknown = true
		case *t.Created > *me.Created && t.LastUsed != nil:
			if best == nil || *t.LastUsed > *best.LastUsed || *t.LastUsed == *best.LastUsed && *t.Created > *best.Created {
				best = &t
			}
		}
	}
	if dated(me) {
		want.WorkspaceExpiringNear = &workspace
		if me.OwnerID != "" {
			want.OwnerExpiringNear = &owner
		}
	}
	if best != nil && !want.SuccessorUnknown {
		want.Successor = &engine.Successor{ID: best.ID, Created: *best.Created, LastUsed: *best.LastUsed}
	}
	return want
}

// Tokens whose comments show nothing are not taken for rotations of one another.
func TestInvisibleCommentsAreNotTheSame(t *testing.T) {
	t.Parallel()
	for comment, same := range map[string]bool{"etl": true, "": false, " \t": false, "\u200b": false, "\u3164\ufeff": false} {
		var d dates
		created, expires := int64(1), int64(engine.NeverExpires)
		d.set("7", comment, &created, &expires, nil, false, 2)
		if (d.group != [16]byte{}) != same {
			t.Errorf("%q: %v", comment, d.group)
		}
	}
}
