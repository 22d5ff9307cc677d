package rigs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/journal"
	"patrol/engine/plan"
	"patrol/engine/store"
)

// stage serves one account after the other under the same address: the world
// as it was when the power was lost.
type stage struct {
	*site
	began   time.Time
	account atomic.Pointer[simulator.Account]
	again   atomic.Int64 // requests to revoke what was revoked before
	targets []string
}

// setStage sets up a site with tokens that break policy, planned and approved.
func setStage(s *site, tokens int) *stage {
	g := &stage{site: s, began: time.Now()}
	for n := range tokens {
		g.targets = append(g.targets, fmt.Sprintf("%02x%062x", n+1, 0))
	}
	g.account.Store(g.world(nil))
	server := httptest.NewServer(g)
	s.Cleanup(server.Close)
	s.must(os.WriteFile(s.config, []byte(g.account.Load().ConfigFile(server.URL)), 0o600))
	s.profile = g.account.Load().Workspaces()[0].Profile
	s.allowAll()
	s.mustEnd([]int{exitViolations}, "audit", "-q", "--profile", s.profile, "--only", "PAT-001")
	s.mustEnd([]int{exitOK}, "plan", "-q")
	s.mustEnd([]int{exitOK}, "approve", "-q", "plan.json", "--all", "--by", "bob@example.com")
	return g
}

// world is the account without the tokens that were revoked.
func (g *stage) world(revoked []string) *simulator.Account {
	account := simulator.New(simulator.Options{Seed: 1, Workspaces: 1, Now: func() time.Time { return g.began }})
	owner := account.Users()[5]
	for _, id := range g.targets {
		if slices.Contains(revoked, id) {
			continue
		}
		token := simulator.Token{ID: id, CreationTime: g.began.Add(-time.Hour).UnixMilli(), ExpiryTime: engine.NeverExpires, LastUsedDay: g.began.UnixMilli() / engine.Day * engine.Day,
			OwnerID: owner.ID, CreatedByID: owner.ID, CreatedByUsername: owner.Name}
		if _, err := account.PutToken(account.Workspaces()[0].Name, token); err != nil {
			g.Error(err)
		}
	}
	return account
}

func (g *stage) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	account := g.account.Load()
	if q.Method == http.MethodDelete && !there(account, filepath.Base(q.URL.Path)) {
		g.again.Add(1)
	}
	account.ServeHTTP(w, q)
}

func there(a *simulator.Account, id string) bool {
	_, found := a.Token(a.Workspaces()[0].Name, id)
	return found
}

func (g *stage) apply(resume bool) []string {
	args := []string{"apply", "plan.json", "--profile", g.profile, "--yes", "--rate", "1000"}
	if resume {
		args = append(args, "--resume")
	}
	return args
}

// applyWitness knows what apply promises: that a request is written down before
// it is sent, and that what is told of a step stays so. What is gone on with
// comes to an end that is true.
type applyWitness struct {
	auditWitness
	*stage
	sha    string
	sent   []string // tokens that a request was sent for
	flying bool     // and perhaps no answer to the last of them came
	told   []string // beginnings of tokens whose step is told to have ended
	resume float64  // how many of the images are gone on with
}

func (w *applyWitness) hear(d *disk, c *call) {
	w.auditWitness.hear(d, c)
	switch {
	case c.name == "pwrite64":
		w.flying = false
	case c.name == "write" && strings.HasPrefix(c.args[1], "DELETE /"):
		path, _, _ := strings.Cut(strings.TrimPrefix(c.args[1], "DELETE "), " ")
		w.sent, w.flying = append(w.sent, filepath.Base(path)), true
	case c.name == "write" && c.args[0] == "2" && strings.Contains(c.args[1], " revoke "):
		_, rest, _ := strings.Cut(c.args[1], " revoke ")
		if target, _, ended := strings.Cut(rest, "…"); ended {
			w.told = append(w.told, target)
		}
	}
}

func (w *applyWitness) problem(dir string, random *rand.Rand) string {
	if problem := w.auditWitness.problem(dir, random); problem != "" {
		return problem
	}
	begun, problem := w.inJournal(dir)
	if problem != "" || random.Float64() >= w.resume {
		return problem
	}
	revoked := w.sent
	if w.flying && random.IntN(2) == 0 { // the request was lost as well
		revoked = revoked[:len(revoked)-1]
	}
	return w.goOn(dir, revoked, begun)
}

const journalName = "patrol-journal.db"

// inJournal holds the journal against what was sent and told; begun reports
// whether there is something to go on with.
func (w *applyWitness) inJournal(dir string) (begun bool, problem string) {
	states := map[string]engine.StepState{}
	if _, err := os.Lstat(filepath.Join(dir, journalName)); err == nil {
		if problem := problemInC(dir, journalName); problem != "" {
			return false, problem
		}
		path, err := copied(dir, journalName)
		if err == nil {
			states, err = w.readJournal(path)
		}
		if err != nil {
			return false, "corrupt: " + err.Error()
		}
	}
	for target, state := range states {
		begun = begun || state != engine.StatePending
		told := slices.ContainsFunc(w.told, func(t string) bool { return strings.HasPrefix(target, t) })
		if told && !state.Terminal() {
			return begun, fmt.Sprintf("lost: the end of token %s, which is %s", target, state)
		}
	}
	for _, target := range w.sent {
		if state := states[target]; state == "" || state == engine.StatePending {
			return begun, fmt.Sprintf("lost: the intent to revoke token %s, which is %q", target, state)
		}
	}
	return begun, ""
}

func (w *applyWitness) readJournal(path string) (map[string]engine.StepState, error) {
	states, ctx := map[string]engine.StepState{}, context.Background()
	j, err := journal.Open(ctx, path, journal.Options{Mode: store.ReadOnly, Now: time.Now})
	if err != nil {
		return nil, err
	}
	defer j.Close()
	_, err = j.Verify(ctx)
	entries, failed := j.Entries(ctx, w.sha)
	for _, e := range entries {
		states[e.Target] = e.State
	}
	return states, errors.Join(err, failed)
}

// goOn runs apply on the image, in the world as it was then.
func (w *applyWitness) goOn(dir string, revoked []string, begun bool) string {
	w.account.Store(w.world(revoked))
	before := w.again.Load()
	s := *w.site
	s.dir = dir
	if code, output := s.patrol(w.apply(begun)...); code != exitOK && !strings.Contains(output, "already_applied") {
		return fmt.Sprintf("stuck: exit %d: %s", code, output)
	}
	if w.again.Load() != before {
		return "twice: something was sent that had been done"
	}
	content, err := os.ReadFile(filepath.Join(dir, "plan.outcome.json"))
	var report engine.OutcomeReport
	if err = errors.Join(err, json.Unmarshal(content, &report)); err != nil || !report.Finished || len(report.Outcomes) != len(w.targets) {
		return fmt.Sprintf("untrue: the outcome: %v, finished %v", err, report.Finished)
	}
	for _, o := range report.Outcomes {
		ours := o.State == engine.StateDone || o.State == engine.StateGoneAfterIntent
		if !ours || there(w.account.Load(), o.Step.Target) {
			return fmt.Sprintf("untrue: token %s is called %s", o.Step.Target, o.State)
		}
		if o.State == engine.StateGoneAfterIntent && !slices.Contains(revoked, o.Step.Target) {
			return fmt.Sprintf("untrue: token %s is not called ours", o.Step.Target)
		}
	}
	return ""
}

// TestPowerLossDuringApply loses power at any moment of an apply: the journal
// is whole and knows of every request that was sent; gone on with, every
// approved step has an outcome that is true and nothing is sent twice. On a disk
// where syncs have no effect the same finds losses.
func TestPowerLossDuringApply(t *testing.T) {
	t.Parallel()
	g := setStage(newSite(t, t.TempDir()), 6)
	h := newHistory(g.site)
	h.then([]int{exitOK}, g.apply(false)...)
	content, err := os.ReadFile(g.path("plan.json"))
	g.must(err)
	sha, digests := plan.Digest(content), g.digestsOf(2)
	if left := g.account.Load().Tokens(g.account.Load().Workspaces()[0].Name); len(left) != 0 {
		t.Fatalf("%d tokens are left", len(left))
	}

	resume := 0.25
	witness := func() witness {
		return &applyWitness{auditWitness: auditWitness{t: t, digests: digests, snapshots: 1, evaluations: 1}, stage: g, sha: sha, resume: resume}
	}
	o := losing{seed: enginetest.Seed(t), images: powerImages(t, 50)}
	h.mustSurvive(h.lose(o, witness))
	resume, o.deaf, o.images = 0, true, 25
	h.mustNotSurvive(h.lose(o, witness))
}
