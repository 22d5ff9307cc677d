package engine_test

import (
	"slices"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	now    = 1_764_000_000_000 // an instant within a day, on purpose
	minute = 60_000
)

func at(ms int64) *int64 { return &ms }

func yes(v bool) *bool { return &v }

func days(n int64) *int64 { return &n }

func token(created, expires, used *int64) engine.Token {
	return engine.Token{ID: "t", Created: created, Expires: expires, LastUsed: used, OwnerID: "1", CreatorID: "1"}
}

func TestLifetimeRoundsUpBeyondAMinuteOfGrace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		lifetime int64
		want     int64
	}{
		{"exactly 90 days", 90 * engine.Day, 90},
		{"a minute of grace", 90*engine.Day + minute, 90},
		{"a millisecond beyond grace", 90*engine.Day + minute + 1, 91},
		{"half a day more", 90*engine.Day + engine.Day/2, 91},
		{"an hour", engine.Day / 24, 1},
		{"seconds", 30_000, 0},
		{"expiry before creation", -5 * engine.Day, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			facts := engine.Derive(token(at(now), at(now+tc.lifetime), nil), now)
			if *facts.LifetimeDays != tc.want {
				t.Errorf("lifetime %d, want %d", *facts.LifetimeDays, tc.want)
			}
		})
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	year := 365 * engine.Day
	for _, tc := range []struct {
		name  string
		token engine.Token
		want  engine.Facts
	}{
		{
			"issued for a year, ten days left",
			token(at(now-355*engine.Day), at(now+10*engine.Day), at(now-3*engine.Day)),
			engine.Facts{AgeDays: days(355), LifetimeDays: days(365), IdleDays: days(3), LastUsed: at(now - 3*engine.Day), ExpiresInDays: days(10), Used: yes(true), NeverExpires: yes(false), Expired: yes(false), OnBehalf: yes(false)},
		},
		{
			"endless and never used: idle falls back to age",
			token(at(now-year), at(engine.NeverExpires), nil),
			engine.Facts{AgeDays: days(365), IdleDays: days(365), Used: yes(false), NeverExpires: yes(true), Expired: yes(false), OnBehalf: yes(false)},
		},
		{
			"expires this very instant: expired",
			token(at(now-engine.Day), at(now), nil),
			engine.Facts{AgeDays: days(1), LifetimeDays: days(1), IdleDays: days(1), ExpiresInDays: days(0), Used: yes(false), NeverExpires: yes(false), Expired: yes(true), OnBehalf: yes(false)},
		},
		{
			"expired an hour ago: a day of the past",
			token(at(now-engine.Day), at(now-engine.Day/24), at(now+engine.Day/4)),
			engine.Facts{AgeDays: days(1), LifetimeDays: days(1), IdleDays: days(0), LastUsed: at(now + engine.Day/4), ExpiresInDays: days(-1), Used: yes(true), NeverExpires: yes(false), Expired: yes(true), OnBehalf: yes(false)},
		},
		{
			"expiry not told: unknown, not endless",
			token(at(now), nil, nil),
			engine.Facts{AgeDays: days(0), IdleDays: days(0), Used: yes(false), OnBehalf: yes(false), Unknown: []string{"expired", "expires_at", "expires_in_days", "lifetime_days", "never_expires"}},
		},
		{
			"nothing told",
			engine.Token{ID: "t"},
			engine.Facts{Used: yes(false), Unknown: []string{"age_days", "created_at", "expired", "expires_at", "expires_in_days", "idle_days", "lifetime_days", "never_expires", "on_behalf"}},
		},
		{
			"last use unreadable: unknown, not unused",
			engine.Token{ID: "t", Created: at(now), Expires: at(engine.NeverExpires), OwnerID: "2", CreatorID: "1", Defects: []engine.Defect{{Field: "last_used_day", Reason: "bad_timestamp"}}},
			engine.Facts{AgeDays: days(0), NeverExpires: yes(true), Expired: yes(false), OnBehalf: yes(true), Unknown: []string{"idle_days", "last_used_at", "used"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.want.AsOf = now
			if diff := cmp.Diff(tc.want, engine.Derive(tc.token, now)); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever a token says, a fact is either derived, inapplicable, or named as
// unknown; an expired token never has days left.
func TestDeriveIsTotal(t *testing.T) {
	instant := rapid.Int64Range(-10*engine.Day, now*2)
	optional := rapid.OneOf(rapid.Just[*int64](nil), rapid.Map(instant, at), rapid.Just(at(engine.NeverExpires)))
	enginetest.Check(t, func(rt *rapid.T) {
		tok := token(optional.Draw(rt, "created"), optional.Draw(rt, "expires"), optional.Draw(rt, "used"))
		facts := engine.Derive(tok, now)
		if (facts.AgeDays == nil) != (tok.Created == nil) {
			rt.Errorf("age %v of creation %v", facts.AgeDays, tok.Created)
		}
		if facts.Expired != nil && *facts.Expired && *facts.ExpiresInDays > 0 {
			rt.Errorf("expired with %d days left", *facts.ExpiresInDays)
		}
		if facts.LifetimeDays != nil && *facts.LifetimeDays < 0 {
			rt.Errorf("negative lifetime %d", *facts.LifetimeDays)
		}
	})
}

func TestParseLifetimeLimit(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	platform := engine.LifetimeLimit{Days: 730}
	for _, tc := range []struct {
		value *string
		want  engine.LifetimeLimit
		ok    bool
	}{
		{nil, platform, true},
		{text(""), platform, true},
		{text("0"), platform, true},
		{text("-1"), platform, true},
		{text("false"), platform, true},
		{text("FALSE"), platform, true},
		{text("90"), engine.LifetimeLimit{Days: 90, Limited: true}, true},
		{text(" 90 "), engine.LifetimeLimit{Days: 90, Limited: true}, true},
		{text("730"), engine.LifetimeLimit{Days: 730, Limited: true}, true},
		{text("1000"), engine.LifetimeLimit{Days: 730, Limited: true}, true},
		{text("-7"), engine.LifetimeLimit{}, false},
		{text("ninety"), engine.LifetimeLimit{}, false},
		{text("90.5"), engine.LifetimeLimit{}, false},
	} {
		got, ok := engine.ParseLifetimeLimit(tc.value)
		if got != tc.want || ok != tc.ok {
			name := "unset"
			if tc.value != nil {
				name = *tc.value
			}
			t.Errorf("%q: %+v %v, want %+v %v", name, got, ok, tc.want, tc.ok)
		}
	}
}

func TestSafeText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"nightly load":           "nightly load",
		"naïve 日本 🎉":             "naïve 日本 🎉",
		"\x1b[31mred":            `\u{1b}[31mred`,
		"a\x00b":                 `a\u{0}b`,
		"\u202eevil":             `\u{202e}evil`,
		"zero\u200bwidth":        `zero\u{200b}width`,
		"bad\xff\xfeutf8":        `bad\xff\xfeutf8`,
		"line\r\nbreak\tand tab": `line\u{d}\u{a}break\u{9}and tab`,
		"a ##VSO[task.x]b":       `a \u{23}#VSO[task.x]b`,
		"##[command]###[x":       `\u{23}#[command]#\u{23}#[x`,
		"issue ##12 ##vso":       "issue ##12 ##vso",
	} {
		if got := engine.SafeText(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestDeriveFromLog: the later use of list and log counts, and what the two cannot
// both be right about is unknown.
func TestDeriveFromLog(t *testing.T) {
	t.Parallel()
	list := token(at(now-200*engine.Day), at(now-50*engine.Day), at(now-60*engine.Day))
	log := func(first, last int64, succeeded, refused int64) *engine.Activity {
		return &engine.Activity{Events: succeeded + refused, First: now - first*engine.Day, Last: now - last*engine.Day, Detail: &engine.ActivityDetail{Succeeded: succeeded, Refused: refused}}
	}
	older := log(59, 55, 9, 0)
	older.Detail = nil
	doubtful := []string{"expired", "expires_at", "expires_in_days", "idle_days", "last_used_at", "lifetime_days", "never_expires", "used"}
	for name, c := range map[string]struct {
		log     *engine.Activity
		idle    int64 // -1: unknown
		unknown []string
	}{
		"nothing":                      {nil, 60, nil},
		"a later use":                  {log(59, 55, 9, 0), 55, nil},
		"a later use, an older export": {older, 55, nil},
		"an earlier use":               {log(90, 80, 9, 0), 60, nil},
		"later refusals alone":         {log(59, 55, 0, 9), 60, nil},
		"use after the expiry":         {log(59, 40, 9, 0), -1, doubtful},
		"refusals after the expiry":    {log(59, 40, 0, 9), 60, nil},
		"use, and refusals after it":   {log(59, 40, 8, 1), 40, nil},
		"within an hour of the expiry": {log(59, 50, 9, 0), 50, nil},
		"use before the creation":      {log(201, 60, 9, 0), -1, []string{"age_days", "created_at", "idle_days", "last_used_at", "lifetime_days", "used"}},
		"within an hour of being made": {log(200, 60, 9, 0), 60, nil},
		"no event":                     {&engine.Activity{First: now - 59*engine.Day, Last: now - 55*engine.Day}, 60, nil},
	} {
		s := engine.Subject{Token: list, Peers: &engine.Peers{Activity: c.log}}
		s.Derive(now)
		got := int64(-1)
		if s.Facts.IdleDays != nil {
			got = *s.Facts.IdleDays
		}
		if got != c.idle || !slices.Equal(s.Facts.Unknown, c.unknown) {
			t.Errorf("%s: idle for %d days, want %d; unknown %q, want %q", name, got, c.idle, s.Facts.Unknown, c.unknown)
		}
	}
}
