package rigs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/eval"
	"patrol/engine/journal"
	"patrol/engine/plan"
	"patrol/engine/policy"
	"patrol/engine/store"
	"patrol/policies"
)

// TestTorture ends the real binary while it applies plans to the simulated
// account: by SIGKILL right before a request has its effect, right after, and at
// any other moment; by one interrupt or two, and by a panic, at any moment.
// Every plan is then gone on with until a run survives. In
// the end no token was revoked that was not approved or had drifted, and every
// approved one has an outcome that is true.
//
// PATROLTEST_TORTURE_KILLS sets the number of kills; `make torture` asks for 10,000.
func TestTorture(t *testing.T) {
	t.Parallel()
	wanted := tortureKills(t)
	binary := patrolBinary(t)
	seed := enginetest.Seed(t)
	var tally tortureTally
	var workers sync.WaitGroup
	for worker := range 4 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), seed))
			for round := 0; tally.kills.Load() < wanted && !t.Failed(); round++ {
				dir := filepath.Join(t.TempDir(), fmt.Sprintf("%d-%d", worker, round))
				r := &torture{T: t, binary: binary, dir: dir, random: random, tally: &tally}
				r.run()
				if !t.Failed() {
					_ = os.RemoveAll(dir) // a failed round is left to look at
				}
			}
		})
	}
	workers.Wait()
	t.Log(tally.String())
}

func tortureKills(t *testing.T) int64 {
	text := os.Getenv("PATROLTEST_TORTURE_KILLS")
	switch {
	case text != "":
		kills, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return kills
	case testing.Short():
		return 20
	}
	return 100
}

// tortureTally counts what happened.
type tortureTally struct {
	kills, before, after, timed, rounds, runs atomic.Int64
	interrupts, twice, panics                 atomic.Int64

	mu     sync.Mutex
	slow   time.Duration // the longest that a second interrupt took
	states map[engine.StepState]int
}

func (y *tortureTally) count(outcomes []engine.Outcome) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.states == nil {
		y.states = map[engine.StepState]int{}
	}
	for _, outcome := range outcomes {
		y.states[outcome.State]++
	}
}

func (y *tortureTally) String() string {
	text := fmt.Sprintf("%d kills (%d before the effect of a request, %d after, %d at any moment), %d interrupts, %d of them twice (gone %d ms after at most), %d panics; %d plans, %d runs;",
		y.kills.Load(), y.before.Load(), y.after.Load(), y.timed.Load(), y.interrupts.Load(), y.twice.Load(), y.slow.Milliseconds(), y.panics.Load(), y.rounds.Load(), y.runs.Load())
	for _, state := range engine.SortedKeys(y.states) {
		text += fmt.Sprintf(" %s %d", state, y.states[state])
	}
	return text
}

// torture is one plan and what is done to it.
type torture struct {
	*testing.T
	binary string
	dir    string
	random *rand.Rand
	tally  *tortureTally

	account   *simulator.Account
	workspace simulator.Workspace
	url       string
	plan      engine.Plan
	approved  map[string]bool // token ids
	planned   map[string]bool // token ids
	drifted   map[string]bool // before the run that is under way
	others    map[string]bool // removed by somebody else

	busy    sync.WaitGroup // requests under way
	mu      sync.Mutex
	process *os.Process
	fuse    int             // requests until the kill; 0: none
	late    bool            // kill after the effect
	ours    map[string]bool // tokens that a request removed
}

func (r *torture) run() {
	r.tally.rounds.Add(1)
	server := r.prepare()
	defer server.Close()
	resume := false
	for range 6 + r.random.IntN(8) {
		r.worldTurns()
		killed := r.apply(resume, true)
		resume = resume || r.hasBegun()
		if !killed {
			break
		}
	}
	r.mu.Lock()
	r.fuse = 0
	r.mu.Unlock()
	for range 20 { // until the plan is settled
		if r.settled(resume) {
			r.check()
			return
		}
		resume = resume || r.hasBegun()
	}
	r.Errorf("%s: not settled", r.dir)
}

// prepare makes an account, a plan on it, and an approval of most of its steps.
func (r *torture) prepare() *httptest.Server {
	r.must(os.MkdirAll(r.dir, 0o700))
	r.account = simulator.New(simulator.Options{
		Seed: r.random.Uint64(), Workspaces: 1, Tokens: 45, Now: time.Now,
		NotFound: []string{simulator.NotFoundResource, simulator.NotFoundPlain}[r.random.IntN(2)], // both occur
	})
	server := httptest.NewServer(http.HandlerFunc(r.serve))
	r.workspace, r.url = r.account.Workspaces()[0], server.URL
	r.must(os.WriteFile(filepath.Join(r.dir, "cfg"), []byte(r.account.ConfigFile(r.url)), 0o600))
	r.approved, r.planned, r.drifted, r.others, r.ours = map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	r.makePlan(8 + r.random.IntN(8))
	return server
}

func (r *torture) must(err error) {
	if err != nil {
		r.Errorf("%s: %v", r.dir, err)
		panic(err)
	}
}

// makePlan plans to revoke n endless tokens and approves most of them.
func (r *torture) makePlan(n int) {
	now := time.Now().UTC()
	set, err := eval.Load(context.Background(), policy.Pack{Name: policy.BuiltIn, FS: policies.FS})
	r.must(err)
	p := engine.Plan{
		Schema: engine.PlanSchema, Version: "dev", Engine: policy.EngineVersion(), OnUse: plan.OnUseSkip, Planner: "test",
		AsOf: now.Add(-time.Minute).Format(time.RFC3339), NotBefore: now.Add(-time.Minute).Format(time.RFC3339), ExpiresAt: now.Add(time.Hour).Format(time.RFC3339),
		Limits: engine.Limits{MaxSteps: n, MaxPercent: 100, MaxPerOwner: n}, Reevaluates: engine.Retuning{}, NotPlanned: []engine.NotPlanned{},
		Protected: engine.Protected{Tokens: []string{}, Principals: []string{}},
	}
	owner := r.account.Users()[5]
	for range n {
		token, err := r.account.PutToken(r.workspace.Name, simulator.Token{ExpiryTime: engine.NeverExpires, OwnerID: owner.ID, CreatedByID: owner.ID, CreatedByUsername: owner.Name})
		r.must(err)
		r.planned[token.ID] = true
		p.Steps = append(p.Steps, r.stepOn(token, p.NotBefore))
	}
	p.Workspaces = []engine.PlanWorkspace{{
		ID: strconv.FormatInt(r.workspace.ID, 10), Name: r.workspace.Name, Host: r.url, Labels: map[string]string{}, Snapshot: "1", Digest: "d",
		CollectedAt: p.AsOf, Tokens: len(r.account.Tokens(r.workspace.Name)),
		Coverage: map[engine.SectionName]engine.CoverageStatus{engine.SectionTokens: engine.Complete},
	}}
	p.Policies = engine.PolicyDigest(plan.Grounds(p.Steps, func(id string) (engine.Policy, bool) {
		i := slices.IndexFunc(set.Policies(), func(p engine.Policy) bool { return p.ID == id })
		return set.Policies()[max(i, 0)], i >= 0
	}))
	r.plan, err = plan.Complete(p)
	r.must(err)
	r.approveMost()
}

const tortureRule = "PAT-001" // never expires

func (r *torture) stepOn(token simulator.Token, due string) engine.Step {
	workspace := strconv.FormatInt(r.workspace.ID, 10)
	seen, err := collectors.ParseToken(engine.CompactJSON(map[string]any{
		"token_id": token.ID, "creation_time": token.CreationTime, "expiry_time": token.ExpiryTime, "created_by_id": token.CreatedByID, "owner_id": token.OwnerID,
	}), time.Now())
	r.must(err)
	identity := engine.TokenIdentity(workspace, seen)
	return engine.Step{
		ID: plan.StepID(engine.Revoke, workspace, token.ID), Action: engine.Revoke, Workspace: r.workspace.Name, WorkspaceID: workspace, Target: token.ID,
		OwnerID: seen.OwnerID, Policies: []string{tortureRule}, Severity: engine.High, Reasons: []string{"never expires"}, Evidence: map[string]any{},
		Precondition: engine.Precondition{Identity: identity, Digest: engine.Fingerprint(identity), Volatile: engine.TokenVolatile(seen)},
		Expected:     map[string]any{"absent": true}, Risk: engine.Risk{Level: "low", Why: "never used"}, NotBefore: due,
	}
}

func (r *torture) approveMost() {
	content := plan.Encode(r.plan)
	s := plan.Statement{
		Schema: plan.ApprovalSchema, Kind: plan.Approve, PlanSHA: plan.Digest(content), PlanID: r.plan.ID, Approver: "test",
		At: r.plan.AsOf, ExpiresAt: r.plan.ExpiresAt,
	}
	for i, step := range r.plan.Steps {
		if i == 0 || r.random.IntN(5) > 0 {
			s.Decisions = append(s.Decisions, plan.Decision{Step: step.ID, Verdict: plan.Accept})
			r.approved[step.Target] = true
		}
	}
	file, err := plan.Append(nil, plan.EncodeStatement(s), "")
	r.must(err)
	r.must(plan.Write(filepath.Join(r.dir, "plan.json"), content))
	r.must(plan.Write(filepath.Join(r.dir, "plan.approval.json"), file))
}

// worldTurns lets others act while no run is under way.
func (r *torture) worldTurns() {
	r.busy.Wait() // also for requests of a run that was killed
	for _, id := range engine.SortedKeys(r.planned) {
		token, there := r.account.Token(r.workspace.Name, id)
		if !there || r.random.IntN(40) > 0 {
			continue
		}
		if r.random.IntN(2) == 0 {
			r.remove(id)
			continue
		}
		if r.random.IntN(2) == 0 {
			token.CreationTime += 1000 // another token under the same id; the rule would still fire
		} else {
			token.ExpiryTime = time.Now().Add(time.Hour).UnixMilli()
		}
		_, err := r.account.PutToken(r.workspace.Name, token)
		r.must(err)
		r.mu.Lock()
		r.drifted[id] = true
		r.mu.Unlock()
	}
}

func (r *torture) remove(id string) {
	if r.account.DeleteToken(r.workspace.Name, id) == nil {
		r.mu.Lock()
		r.others[id] = true
		r.mu.Unlock()
	}
}

// serve is the account, which sometimes kills the one who asks, and sometimes
// says that it failed after it did what it was asked.
func (r *torture) serve(w http.ResponseWriter, q *http.Request) {
	r.busy.Add(1)
	defer r.busy.Done()
	r.mu.Lock()
	blow, late := r.burn(q), r.late
	failing := r.fuse > 0 && q.Method == http.MethodDelete && r.random.IntN(30) == 0
	removing := r.process != nil && q.Method == http.MethodDelete && r.random.IntN(25) == 0
	r.mu.Unlock()
	if removing {
		r.remove(q.URL.Path[strings.LastIndex(q.URL.Path, "/")+1:]) // somebody is faster
	}
	if blow && !late {
		r.kill(&r.tally.before)
		panic(http.ErrAbortHandler)
	}
	answer := r.carryOut(q)
	if blow {
		r.kill(&r.tally.after)
		panic(http.ErrAbortHandler)
	}
	if failing {
		http.Error(w, `{"error_code":"TEMPORARILY_UNAVAILABLE"}`, http.StatusServiceUnavailable)
		return
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// burn counts requests that bear on tokens down to the kill.
func (r *torture) burn(q *http.Request) bool {
	if r.fuse == 0 || !strings.HasPrefix(q.URL.Path, "/api/2.0/token-management/tokens/") {
		return false
	}
	r.fuse--
	return r.fuse == 0
}

// carryOut lets the account answer, and notes what a request removes.
func (r *torture) carryOut(q *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	id := q.URL.Path[strings.LastIndex(q.URL.Path, "/")+1:]
	r.mu.Lock()
	drifted := r.drifted[id]
	r.mu.Unlock()
	if q.Method == http.MethodDelete && drifted {
		r.Errorf("%s: a request to revoke token %s, which had drifted before", r.dir, id)
	}
	r.account.ServeHTTP(answer, q)
	if q.Method == http.MethodDelete && answer.Code == http.StatusOK {
		r.mu.Lock()
		r.ours[id] = true
		r.mu.Unlock()
	}
	return answer
}

// kill ends the process that is running, unless it has ended.
func (r *torture) kill(how *atomic.Int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process != nil && r.process.Signal(syscall.SIGKILL) == nil {
		how.Add(1)
	}
}

// apply runs the binary once, and reports whether it was ended.
func (r *torture) apply(resume, doomed bool) (ended bool) {
	binary := r.binary
	if doomed {
		switch r.random.IntN(8) {
		case 0:
			defer r.soon(r.interrupt).Stop()
		case 1:
			defer r.soon(r.interruptTwice).Stop()
		case 2:
			binary += panicking
		default:
			if timer := r.light(); timer != nil {
				defer timer.Stop()
			}
		}
	}
	switch code, output := r.patrol(binary, "apply", resume); {
	case code == -1 && doomed:
		r.tally.kills.Add(1)
		return true
	case code == exitInterrupt && doomed:
		return true
	case code == exitPanic && doomed && strings.Contains(output, panicText):
		r.tally.panics.Add(1)
		return true
	case !slices.Contains([]int{exitOK, exitPartial, exitRefused}, code):
		r.Errorf("%s: exit %d: %s", r.dir, code, output)
	}
	return false
}

// light sets the fuse: so many requests, or the clock.
func (r *torture) light() *time.Timer {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fuse, r.late = 1+r.random.IntN(10), r.random.IntN(2) == 0
	if r.random.IntN(4) > 0 {
		return nil
	}
	r.fuse = 1 << 30
	return r.soon(func() { r.kill(&r.tally.timed) })
}

// soon is a moment in the life of a run, from its start on.
func (r *torture) soon(do func()) *time.Timer {
	return time.AfterFunc(time.Duration(30+r.random.IntN(150))*time.Millisecond, do)
}

func (r *torture) interrupt() {
	if p := r.running(); p != nil && p.Signal(os.Interrupt) == nil {
		r.tally.interrupts.Add(1)
	}
}

// interruptTwice wants the process to be gone at once after the second.
func (r *torture) interruptTwice() {
	p := r.running()
	if p == nil || p.Signal(os.Interrupt) != nil {
		return
	}
	r.tally.interrupts.Add(1)
	time.Sleep(5 * time.Millisecond) // for the first to be taken in
	if r.running() != p || p.Signal(os.Interrupt) != nil {
		return
	}
	r.tally.twice.Add(1)
	begin := time.Now()
	for n := 1; r.running() == p; n++ {
		time.Sleep(time.Millisecond)
		if n%20 == 0 { // two that arrive before the process runs again are one
			_ = p.Signal(os.Interrupt)
		}
	}
	r.tally.mu.Lock()
	defer r.tally.mu.Unlock()
	r.tally.slow = max(r.tally.slow, time.Since(begin))
}

// running is the process of the run that is under way; nil between runs. Signals
// to one that has ended go nowhere.
func (r *torture) running() *os.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process
}

// patrol runs the binary; -1 means that it was killed.
func (r *torture) patrol(binary, command string, resume bool) (code int, output string) {
	args := []string{command, "plan.json", "--profile", r.workspace.Profile, "--yes", "--rate", "1000", "-q"}
	if resume {
		args = append(args, "--resume")
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "DATABRICKS_CONFIG_FILE="+filepath.Join(r.dir, "cfg"), "HOME="+r.dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	r.must(cmd.Start())
	r.tally.runs.Add(1)
	r.setProcess(cmd.Process)
	err := cmd.Wait()
	r.setProcess(nil)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.must(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func (r *torture) setProcess(p *os.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process = p
}

func (r *torture) journal(work func(*journal.Journal)) {
	path := filepath.Join(r.dir, "patrol-journal.db")
	if _, err := os.Stat(path); err != nil {
		return // killed before there was one
	}
	j, err := journal.Open(context.Background(), path, journal.Options{Mode: store.ReadOnly, Now: time.Now})
	r.must(err)
	work(j)
	r.must(j.Close())
}

func (r *torture) entries() (entries []engine.Entry) {
	r.journal(func(j *journal.Journal) {
		var err error
		entries, err = j.Entries(context.Background(), plan.Digest(plan.Encode(r.plan)))
		r.must(err)
	})
	return entries
}

func (r *torture) hasBegun() bool {
	return slices.ContainsFunc(r.entries(), func(e engine.Entry) bool { return e.State != engine.StatePending })
}

// settled runs undisturbed and reports whether every step has ended.
func (r *torture) settled(resume bool) bool {
	code, output := r.patrol(r.binary, "apply", resume)
	if !slices.Contains([]int{exitOK, exitPartial, exitRefused}, code) {
		r.Errorf("%s: an undisturbed run ended with %d: %s", r.dir, code, output)
	}
	entries := r.entries()
	return len(entries) > 0 && !slices.ContainsFunc(entries, func(e engine.Entry) bool { return !e.State.Terminal() })
}

// check holds what is in the end against what was approved and what happened.
func (r *torture) check() {
	before := len(r.account.Writes())
	code, output := r.patrol(r.binary, "apply", true)
	if code != exitRefused || len(r.account.Writes()) != before {
		r.Errorf("%s: applied again: exit %d, %d requests: %s", r.dir, code, len(r.account.Writes())-before, output)
	}
	first := r.outcome()
	r.patrol(r.binary, "apply", true)
	if !bytes.Equal(first, r.outcome()) {
		r.Errorf("%s: the outcome is not the same when made again", r.dir)
	}
	var report engine.OutcomeReport
	r.must(json.Unmarshal(first, &report))
	if _, err := os.Stat(filepath.Join(r.dir, "patrol-journal.db.fresh")); err == nil {
		r.Errorf("%s: an inventory is left behind", r.dir)
	}
	r.checkOutcomes(report)
	r.checkTokens()
	r.journal(func(j *journal.Journal) {
		_, err := j.Verify(context.Background())
		r.must(err)
	})
	r.tally.count(report.Outcomes)
}

func (r *torture) outcome() []byte {
	content, err := os.ReadFile(filepath.Join(r.dir, "plan.outcome.json"))
	r.must(err)
	return content
}

func (r *torture) checkOutcomes(report engine.OutcomeReport) {
	if len(report.Outcomes) != len(r.plan.Steps) || !report.Finished {
		r.Errorf("%s: %d outcomes of %d steps, finished %v", r.dir, len(report.Outcomes), len(r.plan.Steps), report.Finished)
	}
	for _, o := range report.Outcomes {
		id := o.Step.Target
		_, there := r.account.Token(r.workspace.Name, id)
		wrong := ""
		switch {
		case !o.State.Terminal():
			wrong = "has no outcome"
		case r.approved[id] == (o.State == engine.StateSkippedApproval):
			wrong = "is approved or not, against its outcome"
		case o.State == engine.StateDone && (there || !r.ours[id]):
			wrong = "is called ours"
		case o.State == engine.StateGoneBefore && (there || r.ours[id]):
			wrong = "is called somebody else's"
		case o.State == engine.StateGoneAfterIntent && there:
			wrong = "is called gone"
		case o.State == engine.StateSkippedDrift && r.ours[id]:
			wrong = "is called skipped"
		}
		if wrong != "" {
			r.Errorf("%s: token %s %s: %s (%s), there %v, ours %v, others' %v", r.dir, id, wrong, o.State, o.Reason, there, r.ours[id], r.others[id])
		}
	}
}

// checkTokens: whatever was removed by a request was approved.
func (r *torture) checkTokens() {
	for id := range r.ours {
		if !r.approved[id] {
			r.Errorf("%s: token %s was revoked and not approved", r.dir, id)
		}
	}
	for id := range r.planned {
		if _, there := r.account.Token(r.workspace.Name, id); !there && !r.ours[id] && !r.others[id] {
			r.Errorf("%s: token %s vanished", r.dir, id)
		}
	}
}
