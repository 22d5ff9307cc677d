package apply_test

import (
	"context"
	"fmt"
	"iter"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
	"unsafe"

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/apply"
	"patrol/engine/journal"
	"patrol/engine/remedy"
	"patrol/engine/store"
)

// clock bends time: sleeping takes none, and what time it is can be set.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
	wall   time.Duration // by which the wall clock alone was set
	slept  time.Duration
	hook   func(d time.Duration)
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return apart(time.Now().Add(c.offset), c.wall)
}

// set sets the wall clock, as people do, or a machine that wakes up.
func (c *clock) set(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall += by
}

// apart is a time whose wall clock is further than its monotonic one. Package
// time has no way to make such, though it meets them; so the second of its
// three words, the monotonic reading, is changed, and what came of it checked.
func apart(t time.Time, by time.Duration) time.Time {
	moved := t.Add(by)
	*(*int64)(unsafe.Add(unsafe.Pointer(&moved), 8)) -= int64(by) //nolint:gosec // see above
	if moved.Sub(t) != 0 || moved.Round(0).Sub(t.Round(0)) != by {
		panic("a time is not made of wall clock and monotonic reading as it was")
	}
	return moved
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.advance(d)
	c.slept += d
	if c.hook != nil {
		c.hook(d)
	}
	return ctx.Err()
}

// world is a simulated workspace with everything that it takes to apply a plan.
type world struct {
	t       *testing.T
	account *simulator.Account
	ws      simulator.Workspace
	session *collectors.Session
	signIn  func()
	clock   *clock
	path    string // of the journal
	plan    engine.Plan
	yes     map[string]bool
	judge   judge
	options apply.Options
	events  []apply.Event
	confirm func(apply.Question) error
	change  func(*apply.Job)
}

type judge func(engine.Step, engine.Token) (bool, string, error)

func (j judge) StillFires(_ context.Context, s engine.Step, t engine.Token, _ time.Time) (apply.Ruling, error) {
	fires, why, err := j(s, t)
	return apply.Ruling{Fires: fires, Why: why, Subject: engine.Subject{Token: t}}, err
}

func (judge) Stake(context.Context, engine.Step, time.Time) (apply.Stake, error) {
	return apply.Stake{}, nil
}

// newWorld signs in with the profile of the first workspace, or with another.
func newWorld(t *testing.T, profile string) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}, path: filepath.Join(t.TempDir(), "journal.db"), yes: map[string]bool{}}
	w.account = simulator.New(simulator.Options{Seed: 1, Workspaces: 1, Tokens: 60, Now: time.Now})
	server := httptest.NewServer(w.account)
	t.Cleanup(server.Close)
	w.ws = w.account.Workspaces()[0]
	if profile == "" {
		profile = w.ws.Profile
	}
	config := filepath.Join(t.TempDir(), "cfg")
	if err := os.WriteFile(config, []byte(w.account.ConfigFile(server.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.signIn = func() {
		session, err := collectors.SignIn(t.Context(), collectors.Target{Profile: profile, Name: w.ws.Name, ConfigFile: config}, collectors.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = session.Close() })
		w.session = session
	}
	w.signIn()
	w.judge = func(engine.Step, engine.Token) (bool, string, error) { return true, "", nil }
	w.confirm = func(apply.Question) error { return nil }
	w.newPlan(server.URL)
	return w
}

func (w *world) newPlan(host string) {
	now := time.Now().UTC()
	w.plan = engine.Plan{
		Schema: 1, ID: "p1", Engine: "opa", Policies: "digest", OnUse: "skip",
		AsOf: rfc(now.Add(-time.Hour)), NotBefore: rfc(now.Add(-time.Hour)), ExpiresAt: rfc(now.Add(23 * time.Hour)),
		Limits: engine.Limits{MaxSteps: 100, MaxPercent: 100, MaxPerOwner: 100, MaxRecentlyUsed: 100, RecentlyUsedDays: 7},
		Workspaces: []engine.PlanWorkspace{{
			ID: strconv.FormatInt(w.ws.ID, 10), Name: w.ws.Name, Host: host, Digest: "d", CollectedAt: rfc(now.Add(-time.Hour)), Tokens: len(w.account.Tokens(w.ws.Name)),
			Coverage: map[engine.SectionName]engine.CoverageStatus{
				engine.SectionTokens: engine.Complete, engine.SectionSettings: engine.Complete, engine.SectionGrants: engine.Complete,
			},
		}},
	}
}

func rfc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// victims are tokens of others than the caller, in the order of the list.
func (w *world) victims(n int) []simulator.Token {
	me, _ := strconv.ParseInt(w.session.Caller().ID, 10, 64)
	var found []simulator.Token
	for _, token := range w.account.Tokens(w.ws.Name) {
		if token.OwnerID != me && token.CreatedByID != me && len(found) < n {
			found = append(found, token)
		}
	}
	if len(found) < n {
		w.t.Fatalf("only %d tokens", len(found))
	}
	return found
}

// add puts an approved step into the plan, and returns it.
func (w *world) add(s engine.Step) engine.Step {
	s.ID = fmt.Sprintf("s%02d", len(w.plan.Steps))
	s.WorkspaceID, s.Workspace = w.plan.Workspaces[0].ID, w.ws.Name
	s.Precondition.Digest = engine.Fingerprint(s.Precondition.Identity)
	w.plan.Steps = append(w.plan.Steps, s)
	w.yes[s.ID] = true
	return s
}

func (w *world) onToken(action engine.Action, t simulator.Token, expected map[string]any) engine.Step {
	seen := parsed(w.t, t)
	return w.add(engine.Step{
		Action: action, Target: t.ID, OwnerID: seen.OwnerID, Policies: []string{"PAT-001"}, Expected: expected,
		Precondition: engine.Precondition{Identity: engine.TokenIdentity(w.plan.Workspaces[0].ID, seen), Volatile: engine.TokenVolatile(seen)},
	})
}

func parsed(t *testing.T, token simulator.Token) engine.Token {
	t.Helper()
	row := engine.CompactJSON(map[string]any{
		"token_id": token.ID, "creation_time": token.CreationTime, "expiry_time": token.ExpiryTime, "comment": token.Comment,
		"created_by_id": token.CreatedByID, "owner_id": token.OwnerID, "scopes": token.Scopes, "autoscope_state": token.AutoscopeState,
	})
	seen, err := collectors.ParseToken(row, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if token.LastUsedDay != 0 {
		seen.LastUsed = &token.LastUsedDay
	}
	return seen
}

func (w *world) revoke(n int) []simulator.Token {
	tokens := w.victims(n)
	for _, token := range tokens {
		w.onToken(engine.Revoke, token, map[string]any{"absent": true})
	}
	return tokens
}

func (w *world) setting(key string, from *string, to string) engine.Step {
	return w.add(engine.Step{
		Action: engine.SetSetting, Target: key, Expected: map[string]any{"value": to},
		Precondition: engine.Precondition{Identity: engine.SettingState(key, from)},
	})
}

// workspace is the session as apply wants it.
func (w *world) workspace() apply.Workspace {
	caller := w.session.Caller()
	return apply.Workspace{
		Workspace: w.session.Workspace(), Client: w.session, Skew: w.session.Skew(), Now: w.clock.now,
		Caller: apply.Caller{ID: caller.ID, Name: caller.Name, Admin: caller.Admin, PAT: caller.AuthType == "pat", TokenID: caller.TokenID},
		Tokens: func(ctx context.Context) (iter.Seq2[engine.Token, error], error) {
			section, err := w.session.Tokens(ctx)
			return section.Tokens, err
		},
	}
}

func (w *world) job(journal apply.Journal) apply.Job {
	body := engine.CompactJSON(w.plan)
	live := w.workspace()
	job := apply.Job{
		Plan: w.plan, Bytes: body, SHA: engine.TextDigest(string(body)), Approval: apply.Approval{Steps: w.yes, Bytes: []byte("{}"), By: []string{"bob"}},
		Workspaces: map[string]apply.Workspace{live.ID: live}, Journal: journal, Judge: w.judge,
		Remedies: remedy.All(remedy.Parsers{
			Token:  func(row []byte) (engine.Token, error) { return collectors.ParseToken(row, time.Now()) },
			Grants: collectors.ParseGrants,
		}),
		Clock: apply.Clock{Now: w.clock.now, Sleep: w.clock.sleep}, Engine: "opa", Policies: "digest", Options: w.options,
		Confirm: func(_ context.Context, q apply.Question) error { return w.confirm(q) },
		Tell:    func(e apply.Event) { w.events = append(w.events, e) },
	}
	if w.change != nil {
		w.change(&job)
	}
	return job
}

// apply runs the plan once, as one process would.
func (w *world) apply(ctx context.Context) (engine.OutcomeReport, error) {
	w.t.Helper()
	journal, err := journal.Open(context.Background(), w.path, journal.Options{Mode: store.ReadWrite, Now: time.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	defer journal.Close()
	report, err := w.job(journal).Run(ctx)
	if _, err := journal.Verify(context.Background()); err != nil {
		w.t.Errorf("journal: %v", err)
	}
	return report, err
}

// must applies and wants that exit, by reason.
func (w *world) must(reason string) engine.OutcomeReport {
	w.t.Helper()
	report, err := w.apply(context.Background())
	if got := reasonOf(err); got != reason {
		w.t.Fatalf("ended with %q (%v), want %q", got, err, reason)
	}
	return report
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	if known, ok := engine.AsError(err); ok {
		return known.Reason
	}
	return err.Error()
}

// states wants the steps to be in these states, in the order of the plan.
func (w *world) states(report engine.OutcomeReport, want ...engine.StepState) {
	w.t.Helper()
	if len(report.Outcomes) != len(want) {
		w.t.Fatalf("%d outcomes, want %d", len(report.Outcomes), len(want))
	}
	for i, outcome := range report.Outcomes {
		if outcome.State != want[i] {
			w.t.Errorf("step %d is %s (%s: %s), want %s", i, outcome.State, outcome.Reason, outcome.Detail, want[i])
		}
	}
}

// sent wants so many requests of a method that could change something.
func (w *world) sent(method string, want int) {
	w.t.Helper()
	got := 0
	for _, r := range w.account.Writes() {
		if r.Method == method {
			got++
		}
	}
	if got != want {
		w.t.Errorf("%d %s sent, want %d", got, method, want)
	}
}

func (w *world) there(t simulator.Token) bool {
	_, ok := w.account.Token(w.ws.Name, t.ID)
	return ok
}

func (w *world) fault(f simulator.Fault) { w.account.AddFault(f) }

const tokenPath = "/api/2.0/token-management/tokens/"

// judging makes a judge of what it rules.
type judging func() apply.Ruling

func (j judging) StillFires(context.Context, engine.Step, engine.Token, time.Time) (apply.Ruling, error) {
	return j(), nil
}

type fixed struct{ apply.Ruling }

func (f fixed) StillFires(context.Context, engine.Step, engine.Token, time.Time) (apply.Ruling, error) {
	return f.Ruling, nil
}

func (j judging) Stake(context.Context, engine.Step, time.Time) (apply.Stake, error) {
	return apply.Stake{}, nil
}

func (f fixed) Stake(context.Context, engine.Step, time.Time) (apply.Stake, error) {
	return apply.Stake{}, nil
}

// staked counts so much at stake.
type staked struct {
	fixed
	stake apply.Stake
	err   error
}

func (s staked) Stake(context.Context, engine.Step, time.Time) (apply.Stake, error) {
	return s.stake, s.err
}
