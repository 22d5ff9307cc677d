package reports

import (
	"bytes"
	"strings"
	"testing"

	"patrol/engine"
)

// fixtureExceptions has one waiver of each state, and a baseline.
func fixtureExceptions() engine.Exceptions {
	today := engine.DateOf(asOf)
	rule := func(id string, left engine.Date) engine.WaiverRule {
		return engine.WaiverRule{
			ID: id, Policies: []string{"PAT-001", "PAT-030"}, Workspace: "prod*", Owner: "=svc-*", Reason: "-until the migration of \u202eX",
			Ticket: "SEC-1", Approver: "@bob@example.com", Created: today - 30, Expires: today + left,
		}
	}
	refusals := []engine.WaiverRefusal{{Policy: "WV-001", Message: "granted for 400 days, limit 180", Findings: 2}}
	token := rule("W-4", -3)
	token.Owner, token.Token, token.Workspace, token.Ticket = "", tokenID(1)[:8]+"*", "", ""
	pending := rule("W-7", 60)
	pending.Created = today + 1
	use := func(w engine.WaiverRule, state engine.WaiverState) engine.WaiverUse {
		return engine.WaiverUse{WaiverRule: w, State: state, DaysLeft: today.Until(w.Expires)}
	}
	uses := []engine.WaiverUse{
		use(rule("W-1", 91), engine.WaiverInForce), use(rule("W-2", 14), engine.WaiverInForce), use(rule("W-3", 20), engine.WaiverUnmatched),
		use(token, engine.WaiverExpired), use(rule("W-5", 370), engine.WaiverRefused), use(rule("W-6", 30), engine.WaiverNotJudged), use(pending, engine.WaiverPending),
	}
	uses[0].Waived, uses[1].Waived, uses[1].ExpiresSoon, uses[3].Lapsed, uses[4].Refusals = 1, 2, true, 1, refusals
	return engine.Exceptions{Waivers: uses, Baseline: &engine.BaselineUse{
		AsOf: "2026-06-01T00:00:00Z", Version: "1.2.3", Entries: 4, Baselined: 1, NotJudged: 1,
		Gone: []engine.BaselineEntry{
			{Fingerprint: strings.Repeat("0a", 16), Policy: "PAT-001", Severity: engine.High, Workspace: "prod", WorkspaceID: prod.ID, Resource: engine.ResourceToken, ResourceID: tokenID(50)},
			{Fingerprint: strings.Repeat("0b", 16), Policy: "WS-001", Severity: engine.Medium, Workspace: "prod", WorkspaceID: prod.ID, Resource: engine.ResourceWorkspace, ResourceID: prod.ID},
		},
	}}
}

func TestTableShowsAllExceptions(t *testing.T) {
	t.Parallel()
	r := report()
	for _, c := range []struct {
		options TableOptions
		want    []string
		not     []string
	}{
		{TableOptions{Findings: 1}, []string{"gone: PAT-001", "… and 1 more (-v lists them)", "W-1 1 finding, until 2026-09-30, approved by"}, []string{"gone: WS-001"}},
		{TableOptions{Findings: 1, All: true}, []string{"gone: PAT-001", "gone: WS-001"}, []string{"-v lists"}},
		{TableOptions{Findings: -1}, []string{"3 findings waived: 2 waivers"}, []string{"gone: PAT-001", "W-1 1"}},
	} {
		var b bytes.Buffer
		if err := Table(t.Context(), &b, r, c.options); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%+v: no %q in\n%s", c.options, want, b.String())
			}
		}
		for _, not := range c.not {
			if strings.Contains(b.String(), not) {
				t.Errorf("%+v: %q", c.options, not)
			}
		}
	}
}
