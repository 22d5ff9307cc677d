package apply_test

import (
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/apply"
	"patrol/engine/enginetest"
)

// drift changes one thing between plan and apply: of the token, of the workspace
// or of what the plan rests on. It returns what the run must end with.
type drift struct {
	name  string
	moves func(*world, *rand.Rand, *simulator.Token) (ends string)
}

const notCarriedOut = "not_carried_out"

func drifts() []drift {
	token := func(change func(*rand.Rand, *simulator.Token)) func(*world, *rand.Rand, *simulator.Token) string {
		return func(_ *world, r *rand.Rand, s *simulator.Token) string { change(r, s); return notCarriedOut }
	}
	changed := func(ends string, change func(*apply.Job)) func(*world, *rand.Rand, *simulator.Token) string {
		return func(w *world, _ *rand.Rand, _ *simulator.Token) string { w.change = change; return ends }
	}
	return []drift{
		{"creation", token(func(r *rand.Rand, s *simulator.Token) { s.CreationTime += 1 + r.Int64N(engine.Day) })},
		{"expiry", token(func(r *rand.Rand, s *simulator.Token) {
			s.ExpiryTime = time.Now().UnixMilli() + 1 + r.Int64N(400*engine.Day)
		})},
		{"owner", token(func(r *rand.Rand, s *simulator.Token) { s.OwnerID = 1<<60 + r.Int64N(1<<30) })},
		{"creator", token(func(r *rand.Rand, s *simulator.Token) { s.CreatedByID = 1<<60 + r.Int64N(1<<30) })},
		{"use", token(func(r *rand.Rand, s *simulator.Token) { s.LastUsedDay = time.Now().UnixMilli() + r.Int64N(engine.Day) })},
		{"rule", func(w *world, _ *rand.Rand, _ *simulator.Token) string {
			w.judge = func(engine.Step, engine.Token) (bool, string, error) { return false, "it is content", nil }
			return notCarriedOut
		}},
		{"protected", func(w *world, _ *rand.Rand, s *simulator.Token) string {
			w.plan.Protected.Tokens = []string{s.ID}
			return notCarriedOut
		}},
		{"workspace", changed("wrong_workspace", func(j *apply.Job) {
			for id, live := range j.Workspaces {
				live.ID += "1"
				j.Workspaces[id] = live
			}
		})},
		{"policies", changed("policy_digest", func(j *apply.Job) { j.Policies += "x" })},
		{"engine", changed("engine_version", func(j *apply.Job) { j.Engine += "x" })},
		{"time", func(w *world, r *rand.Rand, _ *simulator.Token) string {
			w.clock.advance(23*time.Hour + time.Duration(1+r.Int64N(int64(time.Hour))))
			return "expired"
		}},
	}
}

// TestDrifts changes one thing between plan and apply, drawn at random: the step
// is skipped or the plan refused, and nothing is sent.
//
// PATROLTEST_TORTURE_DRIFTS sets how often; `make torture` asks for 1,000.
func TestDrifts(t *testing.T) {
	t.Parallel()
	n := 60
	if text := os.Getenv("PATROLTEST_TORTURE_DRIFTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := enginetest.Seed(t)
	all := drifts()
	for i := range n {
		one := all[i%len(all)]
		t.Run(one.name, func(t *testing.T) {
			w := newWorld(t, "")
			token := w.revoke(1)[0]
			ends := one.moves(w, rand.New(rand.NewPCG(seed, uint64(i))), &token)
			if _, err := w.account.PutToken(w.ws.Name, token); err != nil {
				t.Fatal(err)
			}
			w.must(ends)
			w.sent(http.MethodDelete, 0)
			if !w.there(token) {
				t.Error("the token is gone")
			}
		})
	}
}
