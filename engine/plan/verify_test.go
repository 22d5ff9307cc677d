package plan_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/plan"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// now lies within the life of every fixture's plan.
var now = at.Add(time.Hour)

// signer is a key pair that is the same in each run.
func signer(t testing.TB, seed byte) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func authorized(s ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

func signers(t testing.TB, lines ...string) *plan.Signers {
	t.Helper()
	s, err := plan.ParseSigners([]byte(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// story approves a plan step by step.
type story struct {
	t       testing.TB
	content []byte
	plan    engine.Plan
	file    []byte
}

func newStory(t testing.TB) *story {
	p := small(t)
	return &story{t: t, content: plan.Encode(p), plan: p}
}

// say adds a statement by somebody, signed when there is a key.
func (s *story) say(by string, key ssh.Signer, change func(*plan.Statement)) {
	s.t.Helper()
	statement := plan.Statement{
		Schema: plan.ApprovalSchema, Kind: plan.Approve, PlanSHA: plan.Digest(s.content), PlanID: s.plan.ID, All: true,
		Approver: by, At: now.Format(time.RFC3339), ExpiresAt: s.plan.ExpiresAt, User: by,
	}
	if change != nil {
		change(&statement)
	}
	payload, signature := plan.EncodeStatement(statement), ""
	var err error
	if key != nil {
		if signature, err = plan.Sign(payload, plan.Namespace, key); err != nil {
			s.t.Fatal(err)
		}
	}
	if s.file, err = plan.Append(s.file, payload, signature); err != nil {
		s.t.Fatal(err)
	}
}

// verified is what a plan's bytes and those of its approvals come to.
func verified(content, file []byte, trust plan.Trust, at time.Time) (plan.Approved, error) {
	p, err := plan.Read(content)
	if err != nil {
		return plan.Approved{}, err
	}
	return plan.Verify(p, content, file, trust, at)
}

func (s *story) verify(trust plan.Trust) (plan.Approved, error) {
	return verified(s.content, s.file, trust, now)
}

// approved wants exactly these steps, by index in the plan.
func (s *story) approved(trust plan.Trust, want ...int) plan.Approved {
	s.t.Helper()
	a, err := s.verify(trust)
	if err != nil {
		s.t.Fatal(err)
	}
	for i, step := range s.plan.Steps {
		if a.Steps[step.ID] != slices.Contains(want, i) {
			s.t.Errorf("step %d: approved %v (%s)", i, a.Steps[step.ID], a.Others[step.ID])
		}
	}
	return a
}

// on decides about one step.
func (s *story) on(step int, verdict plan.Verdict) func(*plan.Statement) {
	return func(st *plan.Statement) {
		st.All = false
		st.Decisions = append(st.Decisions, plan.Decision{Step: s.plan.Steps[step].ID, Verdict: verdict})
	}
}

func withdraw(st *plan.Statement) { st.Kind = plan.Withdraw }

var anybody = plan.Trust{Required: 1, PlannerMayApprove: true}

func TestUnsignedApproval(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	_, err := s.verify(anybody)
	refusal(t, err, "unapproved")
	s.say("alice", nil, s.on(0, plan.Accept))
	if a := s.approved(anybody, 0); !a.Unsigned || len(a.By) != 1 || a.By[0].Signed {
		t.Errorf("an unsigned approval must say so: %+v", a)
	}
	s.say("alice", nil, nil)
	s.approved(anybody, 0, 1, 2)
}

func TestRejectionStandsUntilItsAuthorApproves(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.say("alice", nil, nil)
	s.say("bob", nil, s.on(1, plan.Reject))
	s.approved(anybody, 0, 2)
	s.say("alice", nil, nil)
	s.approved(anybody, 0, 2)
	s.say("bob", nil, s.on(1, plan.Accept))
	s.approved(anybody, 0, 1, 2)
	s.say("bob", nil, s.on(1, plan.Defer))
	s.approved(anybody, 0, 1, 2) // alice approved it, bob only does not
}

func TestWithdrawal(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.say("alice", nil, nil)
	s.say("bob", nil, withdraw)
	s.approved(anybody, 0, 1, 2) // bob had said nothing
	s.say("alice", nil, func(st *plan.Statement) { s.on(2, plan.Accept)(st); withdraw(st) })
	s.approved(anybody, 0, 1)
	s.say("alice", nil, withdraw)
	_, err := s.verify(anybody)
	refusal(t, err, "unapproved")
	s.say("alice", nil, nil)
	s.approved(anybody, 0, 1, 2)
}

// TestNobodyLiftsTheRejectionOfAnother, by no word and by no time.
func TestNobodyLiftsTheRejectionOfAnother(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.say("bob", nil, func(st *plan.Statement) { s.on(1, plan.Reject)(st); st.ExpiresAt = now.Format(time.RFC3339) }) // over, for an approval
	s.say("alice", nil, nil)
	s.approved(anybody, 0, 2)
	s.say("carol", nil, withdraw)
	s.say("alice", nil, func(st *plan.Statement) { s.on(1, plan.Accept)(st); withdraw(st) })
	s.say("alice", nil, nil)
	s.approved(anybody, 0, 2)
	s.say("Bob", nil, func(st *plan.Statement) { s.on(1, plan.Reject)(st); withdraw(st) })
	s.approved(anybody, 0, 1, 2)
}

// TestPlannerMayNotApproveByAnotherName: where signers are named the key tells.
func TestPlannerMayNotApproveByAnotherName(t *testing.T) {
	t.Parallel()
	own, other := signer(t, 1), signer(t, 2)
	trust := plan.Trust{Required: 1, Signers: signers(t, "planner@example.com "+authorized(own), "release-bot "+authorized(own), "alice "+authorized(other))}
	s := newStory(t)
	s.say("release-bot", own, nil)
	_, err := s.verify(trust)
	refusal(t, err, "planner_approved")
	s = newStory(t)
	s.say("alice", other, nil)
	if a := s.approved(trust, 0, 1, 2); a.OnlyPlanner() {
		t.Error("alice is not the planner")
	}
}

func TestThatOnlyThePlannerApprovedIsTold(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.say("Planner@example.com", nil, nil)
	if !s.approved(anybody, 0, 1, 2).OnlyPlanner() {
		t.Error("not told")
	}
	s.say("alice", nil, nil)
	if s.approved(anybody, 0, 1, 2).OnlyPlanner() {
		t.Error("alice approved it too")
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.say("alice", nil, func(st *plan.Statement) { st.ExpiresAt = now.Format(time.RFC3339) })
	_, err := s.verify(anybody)
	refusal(t, err, "unapproved")
	if !strings.Contains(err.Error(), "expired") {
		t.Errorf("%v does not say why", err)
	}
	s.say("alice", nil, func(st *plan.Statement) { st.ExpiresAt = now.Add(time.Second).Format(time.RFC3339) })
	if a := s.approved(anybody, 0, 1, 2); !a.ExpiresAt.Equal(now.Add(time.Second)) {
		t.Errorf("expires %s", a.ExpiresAt)
	}
	_, err = verified(s.content, s.file, anybody, at.Add(24*time.Hour))
	refusal(t, err, "expired")
	if _, err = verified(s.content, s.file, anybody, at.Add(24*time.Hour-time.Second)); err == nil {
		t.Error("the approval ended before the plan, yet counts")
	}
}

func TestPlannerMayNotApprove(t *testing.T) {
	t.Parallel()
	forbidding := plan.Trust{Required: 1}
	for _, by := range []string{"planner", "PLANNER", "planner@example.com"} {
		s := newStory(t)
		s.say(by, nil, nil)
		_, err := s.verify(forbidding)
		refusal(t, err, "planner_approved")
		s.approved(anybody, 0, 1, 2)
	}
	for _, by := range []string{"Planner <PLANNER@example.com>", "mailto:planner@Example.com", "planner@example.com (on call)"} {
		s := newStory(t)
		s.say(by, nil, nil)
		_, err := s.verify(forbidding)
		refusal(t, err, "planner_approved")
		if !s.approved(anybody, 0, 1, 2).OnlyPlanner() {
			t.Errorf("%s is the planner", by)
		}
	}
	s := newStory(t)
	s.say("alice", nil, func(st *plan.Statement) { st.User = "planner" })
	_, err := s.verify(forbidding)
	refusal(t, err, "planner_approved")
	s = newStory(t)
	s.say("alice", nil, nil)
	s.approved(forbidding, 0, 1, 2)
}

func TestCriticalStepsNeedTheirOwn(t *testing.T) {
	t.Parallel()
	trust := plan.Trust{Required: 1, PlannerMayApprove: true, CriticalNeedOwn: true}
	s := newStory(t)
	critical := slices.IndexFunc(s.plan.Steps, func(step engine.Step) bool { return step.Critical })
	if critical != 2 {
		t.Fatalf("critical step is %d", critical)
	}
	s.say("alice", nil, nil)
	s.approved(trust, 0, 1)
	s.say("alice", nil, func(st *plan.Statement) { s.on(2, plan.Accept)(st); s.on(1, plan.Accept)(st) })
	s.approved(trust, 0, 1)
	s.say("alice", nil, s.on(2, plan.Accept))
	s.approved(trust, 0, 1, 2)
}

func TestSignedApproval(t *testing.T) {
	t.Parallel()
	alice, bob, eve := signer(t, 1), signer(t, 2), signer(t, 3)
	trust := plan.Trust{Required: 2, PlannerMayApprove: true, Signers: signers(t,
		"alice@example.com "+authorized(alice), `bob@example.com,b* namespaces="patrol-*" `+authorized(bob))}
	s := newStory(t)
	s.say("alice@example.com", alice, nil)
	_, err := s.verify(trust)
	refusal(t, err, "unapproved")
	s.say("alice@example.com", alice, nil) // the same key again
	_, err = s.verify(trust)
	refusal(t, err, "unapproved")
	s.say("bob@example.com", bob, s.on(0, plan.Accept))
	if a := s.approved(trust, 0); len(a.By) != 2 || !a.By[0].Signed || !a.By[1].Signed {
		t.Errorf("by %+v", a.By)
	}

	for _, tc := range []struct {
		name   string
		by     string
		key    ssh.Signer
		reason string
	}{
		{"unsigned", "alice@example.com", nil, "unsigned"},
		{"unknown key", "alice@example.com", eve, "wrong_key"},
		{"key of another", "alice@example.com", bob, "wrong_key"},
		{"name of nobody", "eve@example.com", alice, "wrong_key"},
	} {
		s := newStory(t)
		s.say("bob@example.com", bob, nil)
		s.say(tc.by, tc.key, nil)
		_, err := s.verify(trust)
		refusal(t, err, tc.reason)
	}
}

// TestOneKeyIsOnePerson: a key that may sign under two names still counts once,
// and so does a person with two keys.
func TestOneKeyIsOnePerson(t *testing.T) {
	t.Parallel()
	one, two := signer(t, 1), signer(t, 2)
	trust := plan.Trust{Required: 2, PlannerMayApprove: true, Signers: signers(t, "a*,b* "+authorized(one), "a* "+authorized(two))}
	s := newStory(t)
	s.say("alice", one, nil)
	s.say("bob", one, nil)
	_, err := s.verify(trust)
	refusal(t, err, "unapproved")
	s = newStory(t)
	s.say("alice", one, nil)
	s.say("alice", two, nil)
	_, err = s.verify(trust)
	refusal(t, err, "unapproved")
}

func TestSignatureOfOtherThings(t *testing.T) {
	t.Parallel()
	alice := signer(t, 1)
	trust := plan.Trust{Signers: signers(t, "alice "+authorized(alice)), PlannerMayApprove: true}
	s := newStory(t)
	s.say("alice", alice, nil)
	entries, err := plan.Entries(s.file)
	if err != nil {
		t.Fatal(err)
	}
	other := plan.Statement{Schema: 1, Kind: plan.Approve, PlanSHA: plan.Digest(s.content), PlanID: s.plan.ID, All: true, Approver: "alice", At: s.plan.AsOf, ExpiresAt: s.plan.ExpiresAt}
	s.file, err = plan.Append(nil, plan.EncodeStatement(other), entries[0].Signature)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.verify(trust)
	refusal(t, err, "bad_signature")
}

// TestSignatureForAnotherUse: a key also signs commits and files. What it signed
// for those, though it be the very bytes of a statement, approves nothing.
func TestSignatureForAnotherUse(t *testing.T) {
	t.Parallel()
	alice := signer(t, 1)
	trust := plan.Trust{Signers: signers(t, "alice "+authorized(alice)), PlannerMayApprove: true}
	for _, use := range []string{plan.Namespace, "file", "git"} {
		s := newStory(t)
		payload := plan.EncodeStatement(plan.Statement{Schema: 1, Kind: plan.Approve, PlanSHA: plan.Digest(s.content), PlanID: s.plan.ID,
			All: true, Approver: "alice", At: s.plan.AsOf, ExpiresAt: s.plan.ExpiresAt})
		signature, err := sshsig.Sign(bytes.NewReader(payload), alice, sshsig.HashSHA512, use)
		if err != nil {
			t.Fatal(err)
		}
		if s.file, err = plan.Append(nil, payload, string(sshsig.Armor(signature))); err != nil {
			t.Fatal(err)
		}
		_, err = s.verify(trust)
		if use != plan.Namespace {
			refusal(t, err, "bad_signature")
		} else if err != nil {
			t.Errorf("%s: %v", use, err)
		}
	}
}

func TestApprovalOfAnotherPlan(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.say("alice", nil, func(st *plan.Statement) { st.PlanSHA = strings.Repeat("0", 64) })
	_, err := s.verify(anybody)
	refusal(t, err, "other_plan")
	if !plan.Foreign(s.file, s.content) {
		t.Error("the file is about another plan only")
	}
	s.say("alice", nil, nil)
	if plan.Foreign(s.file, s.content) {
		t.Error("the file is about this plan, too")
	}
	s = newStory(t)
	s.say("alice", nil, func(st *plan.Statement) {
		st.All = false
		st.Decisions = []plan.Decision{{Step: "s000000000000", Verdict: plan.Accept}}
	})
	_, err = s.verify(anybody)
	refusal(t, err, "bad_approval")
}

func TestARemadePlanKeepsItsApproval(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.say("alice", nil, nil)
	s.content = plan.Encode(small(t))
	s.approved(anybody, 0, 1, 2)
}

// TestEveryFlippedByteOfAnApprovalIsRefused covers signed and unsigned ones.
func TestEveryFlippedByteOfAnApprovalIsRefused(t *testing.T) {
	t.Parallel()
	alice := signer(t, 1)
	values := rand.New(rand.NewPCG(3, 4))
	for name, trust := range map[string]plan.Trust{
		"signed": {Signers: signers(t, "alice "+authorized(alice)), PlannerMayApprove: true}, "unsigned": anybody,
	} {
		s := newStory(t)
		if trust.Signers != nil {
			s.say("alice", alice, nil)
		} else {
			s.say("alice", nil, nil)
		}
		s.approved(trust, 0, 1, 2)
		for i := range s.file {
			changed := bytes.Clone(s.file)
			for _, value := range []byte{s.file[i] ^ 1<<(i%8), byte(values.Uint32())} {
				if value == s.file[i] {
					continue
				}
				changed[i] = value
				if _, err := verified(s.content, changed, trust, now); err == nil {
					t.Fatalf("%s: byte %d changed from %q to %q counts", name, i, s.file[i], value)
				} else if known, ok := engine.AsError(err); !ok || known.Class != engine.ClassRefused {
					t.Fatalf("%s: byte %d changed: error %v is no refusal", name, i, err)
				}
			}
		}
	}
}

func TestStatementsAreStrict(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	for name, change := range map[string]func(*plan.Statement){
		"nobody":             func(st *plan.Statement) { st.Approver = "" },
		"all and some":       func(st *plan.Statement) { s.on(0, plan.Accept)(st); st.All = true },
		"none":               func(st *plan.Statement) { st.All = false },
		"twice":              func(st *plan.Statement) { s.on(0, plan.Accept)(st); s.on(0, plan.Reject)(st) },
		"another decision":   func(st *plan.Statement) { s.on(0, "maybe")(st) },
		"another kind":       func(st *plan.Statement) { st.Kind = "bless" },
		"no time":            func(st *plan.Statement) { st.At = "today" },
		"a newer statement":  func(st *plan.Statement) { st.Schema = 2 },
		"no end of validity": func(st *plan.Statement) { st.ExpiresAt = "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t)
			s.say("alice", nil, change)
			_, err := s.verify(anybody)
			refusal(t, err, "bad_approval")
		})
	}
	_, err := plan.Append([]byte(`{"schema":1,"approvals":[]}`), nil, "")
	refusal(t, err, "bad_approval")
	_, err = plan.Append([]byte(`{"schema":2}`), nil, "")
	refusal(t, err, "newer_plan")
	_, err = plan.Append(nil, []byte("x"), "no signature")
	refusal(t, err, "bad_signature")
}

func FuzzVerify(f *testing.F) {
	s := newStory(f)
	s.say("alice", nil, nil)
	f.Add(s.file)
	s.say("alice", signer(f, 1), nil)
	f.Add(s.file)
	f.Fuzz(func(t *testing.T, file []byte) {
		_, err := verified(s.content, file, anybody, now)
		if err == nil {
			return
		}
		if known, ok := engine.AsError(err); !ok || known.Class != engine.ClassRefused {
			t.Fatalf("error %v is no refusal", err)
		}
	})
}

func TestManyStatements(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	for i := range 20 {
		s.say(fmt.Sprintf("user%d", i), nil, nil)
	}
	if a := s.approved(anybody, 0, 1, 2); len(a.By) != 20 {
		t.Errorf("%d approvers", len(a.By))
	}
}

// TestWhatApproversWriteIsOneHarmlessLine, wherever it is told.
func TestWhatApproversWriteIsOneHarmlessLine(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.say("alice", nil, nil)
	s.say("bob\nApproved: 3 of 3 steps", nil, func(st *plan.Statement) {
		s.on(1, plan.Reject)(st)
		st.Decisions[0].Reason = "no\n\x1b[2K\u202e"
	})
	a := s.approved(anybody, 0, 2)
	if why := a.Others[s.plan.Steps[1].ID]; enginetest.Acting(why) != "" || strings.Contains(why, "\n") {
		t.Errorf("told as %q", why)
	}
}
