package plan_test

import (
	"strings"
	"testing"
	"time"

	"patrol/engine/plan"
)

func TestAllowedSigners(t *testing.T) {
	t.Parallel()
	alice := signer(t, 1)
	key := authorized(alice)
	for _, tc := range []struct {
		name, line, by, reason string
	}{
		{"plain", "alice " + key, "alice", ""},
		{"with a comment", "alice " + key + " alice's laptop", "alice", ""},
		{"quoted principals", `"alice,bob" ` + key, "bob", ""},
		{"pattern", "*@example.com " + key, "alice@example.com", ""},
		{"pattern of one character", "al?ce " + key, "alice", ""},
		{"pattern of others", "*@example.org " + key, "alice@example.com", "wrong_key"},
		{"negated", "*@example.com,!eve@example.com " + key, "eve@example.com", "wrong_key"},
		{"brackets are no pattern", "al[i]ce " + key, "alice", "wrong_key"},
		{"our namespace", `alice namespaces="git,patrol-plan-approval" ` + key, "alice", ""},
		{"another namespace", `alice namespaces="git" ` + key, "alice", "wrong_key"},
		{"valid", `alice valid-after="20261101",valid-before="202612010000Z" ` + key, "alice", ""},
		{"not yet", `alice valid-after="20261201" ` + key, "alice", "wrong_key"},
		{"not any more", `alice valid-before="20261124130000Z" ` + key, "alice", "wrong_key"},
		{"second line allows", "bob " + key + "\nalice " + key, "alice", ""},
		{"comment lines", "# alice\n\nalice " + key, "alice", ""},
		{"spaces", "  alice\t" + key, "alice", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStory(t)
			s.say(tc.by, alice, nil)
			_, err := s.verify(plan.Trust{Signers: signers(t, tc.line), PlannerMayApprove: true})
			if tc.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			refusal(t, err, tc.reason)
		})
	}
}

func TestBadAllowedSigners(t *testing.T) {
	t.Parallel()
	key := authorized(signer(t, 1))
	for name, tc := range map[string][2]string{
		"empty":                {"", "names no signer"},
		"no key":               {"alice", "line 1: no key"},
		"damaged key":          {"alice ssh-ed25519 AAAA", "line 1: no key"},
		"cert-authority":       {"alice cert-authority " + key, "line 1: cert-authority is not supported"},
		"unknown option":       {"alice no-touch-required " + key, "line 1: option"},
		"odd time":             {`alice valid-before="tomorrow" ` + key, "line 1: \"tomorrow\" is no time"},
		"open quote":           {`"alice ` + key, "line 1: a quote is not closed"},
		"empty principal":      {"alice,, " + key, "line 1: a principal is empty"},
		"second line is wrong": {"alice " + key + "\nbob", "line 2:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := plan.ParseSigners([]byte(tc[0]))
			if err == nil || !strings.Contains(err.Error(), tc[1]) {
				t.Errorf("error %v, want %q", err, tc[1])
			}
		})
	}
}

func TestPrincipalOfAKey(t *testing.T) {
	t.Parallel()
	alice := signer(t, 1)
	key := authorized(alice)
	for line, want := range map[string]string{
		"alice@example.com " + key: "alice@example.com", "*@example.com " + key: "", "alice,bob " + key: "", "alice " + authorized(signer(t, 2)): "",
	} {
		got, known := signers(t, line).Principal(alice.PublicKey())
		if got != want || known != (want != "") {
			t.Errorf("%.30s…: %q, want %q", line, got, want)
		}
	}
}

func FuzzParseSigners(f *testing.F) {
	key := authorized(signer(f, 1))
	f.Add("alice " + key)
	f.Add(`"a,b*" namespaces="x",valid-after="20260101" ` + key + " comment")
	f.Add("# nothing\n\nalice cert-authority " + key)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := plan.ParseSigners([]byte(text))
		if err == nil {
			s.Principal(signer(t, 1).PublicKey())
		}
	})
}

func TestLengthOfAPlan(t *testing.T) {
	t.Parallel()
	if plan.DefaultValidity != 24*time.Hour || plan.MaxValidity != 72*time.Hour {
		t.Error("a plan is good for a day, and never for more than three")
	}
}
