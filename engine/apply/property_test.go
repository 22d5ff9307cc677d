package apply_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/apply"
	"patrol/engine/enginetest"
	"patrol/engine/remedy"

	"pgregory.net/rapid"
)

// stage is a workspace, a journal and a clock in memory, of which chance
// decides what goes wrong: requests and answers get lost, the workspace errs,
// others remove and change tokens, time jumps, and the process dies at any
// request or line of the journal.
type stage struct {
	t       *rapid.T
	now     time.Time
	tokens  map[string]*stageToken
	plan    engine.Plan
	yes     map[string]bool
	entries map[string]engine.Entry
	events  []engine.JournalEvent
	calm    bool // nothing goes wrong any more
	dead    bool // the process
	begun   bool
	broken  []string // invariants
	deletes int
	looked  map[string]time.Time
	ours    map[string]bool // tokens that a request of ours removed
}

type stageToken struct {
	token   engine.Token
	drifted bool
	sawIt   bool // drifted by the last look
}

var errDead = errors.New("killed")

func (s *stage) fail(format string, args ...any) {
	s.broken = append(s.broken, fmt.Sprintf(format, args...))
}

// chance is true one time in n.
func (s *stage) chance(n int, what string) bool {
	return !s.calm && rapid.IntRange(1, n).Draw(s.t, what) == 1
}

// mayDie kills the process here.
func (s *stage) mayDie() error {
	if s.dead || s.chance(25, "dies") {
		s.dead = true
		return errDead
	}
	return nil
}

func (s *stage) world() {
	for _, id := range engine.SortedKeys(s.tokens) {
		switch {
		case s.chance(60, "vanishes"):
			delete(s.tokens, id)
		case s.chance(60, "drifts"):
			s.tokens[id].drifted = true
			s.tokens[id].token.OwnerID = "999"
		}
	}
	s.jump()
}

func (s *stage) jump() {
	if s.chance(20, "jumps") {
		s.now = s.now.Add(time.Duration(rapid.IntRange(-20, 20).Draw(s.t, "jump")) * time.Second)
	}
}

// Send implements engine.Client.
func (s *stage) Send(_ context.Context, method, target string, _ []byte) (engine.Response, error) {
	if err := s.mayDie(); err != nil {
		return engine.Response{}, err
	}
	id := target[strings.LastIndex(target, "/")+1:]
	if method != http.MethodGet {
		s.checkDelete(id)
	}
	asked := s.now
	s.world() // while the request is on its way
	if s.chance(12, "lost before") {
		return engine.Response{}, errors.New("reset")
	}
	answer := s.answer(method, id, asked)
	if err := s.mayDie(); err != nil {
		return engine.Response{}, err
	}
	if s.chance(12, "lost after") {
		return engine.Response{}, errors.New("reset")
	}
	return answer, nil
}

func (s *stage) answer(method, id string, asked time.Time) engine.Response {
	if s.chance(15, "errs") {
		status := rapid.SampledFrom([]int{429, 500, 503}).Draw(s.t, "status")
		return reply(status, `{"error_code":"X"}`)
	}
	one, there := s.tokens[id]
	switch {
	case !there:
		return reply(404, `{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"gone"}`)
	case method == http.MethodDelete:
		delete(s.tokens, id)
		s.ours[id] = true
		return reply(200, `{}`)
	}
	s.looked[id] = asked
	one.sawIt = one.drifted
	row := engine.CompactJSON(map[string]string{"token_id": id, "owner_id": one.token.OwnerID})
	return reply(200, `{"token_info":`+string(row)+`}`)
}

func reply(status int, body string) engine.Response {
	return engine.Response{Status: status, Body: []byte(body), Header: http.Header{"Content-Type": {"application/json"}}}
}

// checkDelete holds what must be true of every request that changes something.
func (s *stage) checkDelete(id string) {
	s.deletes++
	i := slices.IndexFunc(s.plan.Steps, func(step engine.Step) bool { return step.Target == id })
	switch {
	case !s.begun:
		s.fail("I10: sent before the journal was begun")
	case i < 0 || !s.yes[s.plan.Steps[i].ID]:
		s.fail("I1: sent for a token that is not approved")
	case s.entries[s.plan.Steps[i].ID].State != engine.StateIntent:
		s.fail("I2: sent in state %s", s.entries[s.plan.Steps[i].ID].State)
	case s.now.Sub(s.looked[id]).Abs() > 10*time.Second && s.looked[id] != (time.Time{}):
		s.fail("I5: the last look is %s old", s.now.Sub(s.looked[id]))
	case s.tokens[id] != nil && s.tokens[id].sawIt:
		s.fail("I5: sent although the look saw drift")
	}
}

// The journal.

func (s *stage) Begin(_ context.Context, r engine.Registration) error {
	if err := s.mayDie(); err != nil {
		return err
	}
	s.begun = true
	for _, step := range r.Steps {
		if _, known := s.entries[step.ID]; !known {
			s.entries[step.ID] = engine.Entry{Plan: r.SHA, Step: step.ID, Workspace: "1", Action: step.Action, Target: step.Target, State: engine.StatePending}
		}
	}
	s.events = append(s.events, engine.JournalEvent{Workspace: "1", To: "begun", Epoch: int64(len(s.events))})
	return nil
}

func (s *stage) Entries(context.Context, string) ([]engine.Entry, error) {
	var list []engine.Entry
	for _, id := range engine.SortedKeys(s.entries) {
		list = append(list, s.entries[id])
	}
	return list, nil
}

func (s *stage) Events(context.Context, string) iter.Seq2[engine.JournalEvent, error] {
	return func(yield func(engine.JournalEvent, error) bool) {
		for _, e := range s.events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *stage) Move(_ context.Context, from engine.StepState, to engine.Entry) error {
	if err := s.mayDie(); err != nil {
		return err
	}
	have := s.entries[to.Step]
	if have.State != from || have.State.Terminal() {
		s.fail("I8: %s → %s, but it is %s", from, to.State, have.State)
	}
	_, there := s.tokens[to.Target]
	if to.State == engine.StateDone && there {
		s.fail("I8: done, and is there")
	}
	s.entries[to.Step] = to
	s.jump() // a disk can take its time
	return s.mayDie()
}

func (s *stage) Note(_ context.Context, n engine.Note) error {
	if err := s.mayDie(); err != nil {
		return err
	}
	s.events = append(s.events, engine.JournalEvent{Workspace: n.Workspace, To: string(n.Kind), Detail: n.Detail})
	return nil
}

func newStage(t *rapid.T) *stage {
	s := &stage{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), tokens: map[string]*stageToken{}, entries: map[string]engine.Entry{}, yes: map[string]bool{}, looked: map[string]time.Time{}, ours: map[string]bool{}}
	n := rapid.IntRange(1, 6).Draw(t, "tokens")
	s.plan = engine.Plan{
		Schema: 1, ID: "p", OnUse: "skip", AsOf: rfc(s.now), NotBefore: rfc(s.now.Add(-time.Hour)), ExpiresAt: rfc(s.now.Add(1000 * time.Hour)),
		Limits: engine.Limits{MaxSteps: n, MaxPercent: 100, MaxPerOwner: 100},
		Workspaces: []engine.PlanWorkspace{{ID: "1", Name: "w", Digest: "d", CollectedAt: rfc(s.now), Tokens: 1000,
			Coverage: map[engine.SectionName]engine.CoverageStatus{engine.SectionTokens: engine.Complete}}},
	}
	for i := range n {
		token := engine.Token{ID: fmt.Sprintf("%064x", i), OwnerID: "7"}
		s.tokens[token.ID] = &stageToken{token: token}
		identity := engine.TokenIdentity("1", token)
		step := engine.Step{ID: fmt.Sprintf("s%d", i), Action: engine.Revoke, WorkspaceID: "1", Workspace: "w", Target: token.ID, OwnerID: "7", Policies: []string{"P"},
			Precondition: engine.Precondition{Identity: identity, Digest: engine.Fingerprint(identity), Volatile: engine.TokenVolatile(token)}}
		s.plan.Steps = append(s.plan.Steps, step)
		s.yes[step.ID] = i == 0 || rapid.Bool().Draw(t, "approved")
	}
	return s
}

func parseStageToken(row []byte) (engine.Token, error) {
	var wire struct {
		ID    string `json:"token_id"`
		Owner string `json:"owner_id"`
	}
	err := json.Unmarshal(row, &wire)
	return engine.Token{ID: wire.ID, OwnerID: wire.Owner}, err
}

func (s *stage) job() apply.Job {
	clock := apply.Clock{
		Now: func() time.Time { return s.now },
		Sleep: func(_ context.Context, d time.Duration) error {
			s.now = s.now.Add(d)
			return s.mayDie()
		},
	}
	live := apply.Workspace{
		Workspace: engine.Workspace{ID: "1"}, Client: s, Now: clock.Now, Caller: apply.Caller{ID: "me", Admin: true},
		Tokens: func(context.Context) (iter.Seq2[engine.Token, error], error) {
			return func(yield func(engine.Token, error) bool) {
				for _, id := range engine.SortedKeys(s.tokens) {
					if !yield(s.tokens[id].token, nil) {
						return
					}
				}
				for i := range 1000 - len(s.tokens) { // the others of the workspace
					if !yield(engine.Token{ID: fmt.Sprintf("%064x", 1_000_000+i)}, nil) {
						return
					}
				}
			}, nil
		},
	}
	return apply.Job{
		Plan: s.plan, SHA: "sha", Approval: apply.Approval{Steps: s.yes}, Workspaces: map[string]apply.Workspace{"1": live}, Journal: s, Clock: clock,
		Remedies: remedy.All(remedy.Parsers{Token: parseStageToken}),
		Judge:    judge(func(engine.Step, engine.Token) (bool, string, error) { return true, "", nil }),
		Confirm:  func(context.Context, apply.Question) error { return nil },
	}
}

// TestWhateverHappens: runs that are killed again and again, and then one that
// nothing happens to.
func TestWhateverHappens(t *testing.T) {
	enginetest.Check(t, func(t *rapid.T) {
		s := newStage(t)
		begun := map[string]bool{}
		for _, step := range s.plan.Steps {
			begun[step.ID] = false
		}
		for range rapid.IntRange(0, 5).Draw(t, "killed runs") {
			s.dead = false
			job := s.job()
			job.Options.Resume = true
			_, _ = job.Run(t.Context())
		}
		s.dead, s.calm = false, true
		job := s.job()
		job.Options.Resume = true
		report, err := job.Run(t.Context())
		s.checkEnd(t, report, err)
		before := s.deletes
		again, err := job.Run(t.Context())
		if reasonOf(err) != "already_applied" || s.deletes != before {
			t.Fatalf("I7: applied again: %v, %d requests", err, s.deletes-before)
		}
		if string(engine.CompactJSON(again)) != string(engine.CompactJSON(report)) {
			t.Fatalf("I12: the report changed")
		}
	})
}

func (s *stage) checkEnd(t *rapid.T, report engine.OutcomeReport, err error) {
	if reason := reasonOf(err); reason != "" && reason != "not_carried_out" && reason != "already_applied" {
		t.Fatalf("the calm run ended with %v", err)
	}
	if len(s.broken) > 0 {
		t.Fatalf("%v", s.broken)
	}
	total := 0
	for _, count := range report.Counts {
		total += count
	}
	if total != len(s.plan.Steps) || !report.Finished {
		t.Fatalf("I3: %d outcomes of %d steps, finished %v: %v", total, len(s.plan.Steps), report.Finished, report.Counts)
	}
	acted := 0
	for _, entry := range s.entries {
		if entry.Attempt > 0 {
			acted++
		}
		if entry.State == engine.StateDone && !s.ours[entry.Target] || entry.State == engine.StateGoneBefore && s.ours[entry.Target] {
			t.Fatalf("I9: %s is %s, removed by us: %v", entry.Step, entry.State, s.ours[entry.Target])
		}
		if !s.yes[entry.Step] {
			t.Fatalf("I1: %s has an outcome and no approval", entry.Step)
		}
	}
	if acted > s.plan.Limits.MaxSteps {
		t.Fatalf("I6: acted on %d", acted)
	}
}
