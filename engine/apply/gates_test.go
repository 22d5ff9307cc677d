package apply_test

import (
	"net/http"
	"testing"
	"time"

	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/apply"
)

func mustGrants(t *testing.T, body []byte) engine.Grants {
	t.Helper()
	grants, err := collectors.ParseGrants(body)
	if err != nil {
		t.Fatal(err)
	}
	return grants
}

// TestGates: whatever is wrong, it is found before anything but GET is sent,
// and the journal is not even begun.
func TestGates(t *testing.T) {
	t.Parallel()
	live := func(change func(*apply.Workspace)) func(*world) {
		return func(w *world) {
			w.change = func(j *apply.Job) {
				for id, one := range j.Workspaces {
					change(&one)
					j.Workspaces[id] = one
				}
			}
		}
	}
	for reason, spoil := range map[string]func(*world){
		"unapproved":          func(w *world) { w.yes = map[string]bool{} },
		"schema":              func(w *world) { w.plan.Schema = 2 },
		"policy_digest":       func(w *world) { w.plan.Policies = "other" },
		"engine_version":      func(w *world) { w.plan.Engine = "other" },
		"too_early":           func(w *world) { w.plan.NotBefore = rfc(time.Now().Add(time.Hour)) },
		"expired":             func(w *world) { w.plan.ExpiresAt = rfc(time.Now().Add(-time.Minute)) },
		"bad_time":            func(w *world) { w.plan.ExpiresAt = "tomorrow" },
		"no_snapshot":         func(w *world) { w.plan.Workspaces[0].Digest = "" },
		"stale_snapshot":      func(w *world) { w.plan.Workspaces[0].CollectedAt = rfc(time.Now().Add(-100 * time.Hour)) },
		"incomplete_snapshot": func(w *world) { w.plan.Workspaces[0].Coverage[engine.SectionTokens] = engine.Partial },
		"unknown_action":      func(w *world) { w.add(engine.Step{Action: "explode", Target: "x"}) },
		"tampered":            func(w *world) { w.plan.Steps[0].Precondition.Identity["owner_id"] = "1" },
		"over_limits":         func(w *world) { w.plan.Limits.MaxSteps = 1 },
		"population_shift":    func(w *world) { w.plan.Workspaces[0].Tokens = 20 },
		"wrong_workspace":     live(func(o *apply.Workspace) { o.ID = "1" }),
		"not_admin":           live(func(o *apply.Workspace) { o.Caller.Admin = false }),
		"unknown_caller":      live(func(o *apply.Workspace) { o.Caller.ID = "" }),
		"clock_skew":          live(func(o *apply.Workspace) { o.Skew = -2 * time.Hour }),
	} {
		t.Run(reason, func(t *testing.T) {
			w := newWorld(t, "")
			w.revoke(2)
			spoil(w)
			_, err := w.apply(t.Context())
			known, ok := engine.AsError(err)
			if !ok || known.Reason != reason || known.Class != engine.ClassRefused || known.Hint == "" {
				t.Fatalf("ended with %v (%+v)", err, known)
			}
			if n := len(w.account.Writes()); n > 0 {
				t.Errorf("%d writes were sent", n)
			}
		})
	}
}

func TestWrongHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.revoke(1)
	w.plan.Workspaces[0].Host = "https://elsewhere.example.com"
	w.must("wrong_workspace")
	w.change = func(j *apply.Job) { j.Workspaces = nil }
	w.must("wrong_workspace")
}

// TestLimitsCountWhatEarlierRunsDid: more is approved while a plan is half done.
func TestLimitsCountWhatEarlierRunsDid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.revoke(3)
	w.plan.Limits.MaxSteps = 2
	delete(w.yes, "s01")
	delete(w.yes, "s02")
	w.must("")
	w.yes = map[string]bool{"s01": true, "s02": true}
	w.options.Resume = true
	w.must("over_limits")
	w.sent(http.MethodDelete, 1)
	w.yes = map[string]bool{"s01": true}
	w.must("")
	w.sent(http.MethodDelete, 2)
}

func TestZeroMeansZero(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*engine.Limits){
		"steps":   func(l *engine.Limits) { l.MaxSteps = 0 },
		"percent": func(l *engine.Limits) { l.MaxPercent = 0 },
		"owner":   func(l *engine.Limits) { l.MaxPerOwner = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			w.revoke(1)
			limit(&w.plan.Limits)
			w.must("over_limits")
			w.sent(http.MethodDelete, 0)
		})
	}
}
