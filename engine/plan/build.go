package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

// Build makes the plan of an evaluation. The same input gives the same plan.
// Each failed finding of the chosen policies is the ground of one step, or
// stands in NotPlanned with the reason. The error is of ClassRefused with the
// reason clock_skew when this
// machine's clock was more than an hour off: a plan's own dates would be, too.
func Build(ctx context.Context, in Input) (engine.Plan, error) {
	b := newBuilder(in)
	if err := in.Config.check(b.policies); err != nil {
		return engine.Plan{}, err
	}
	if err := b.refuseSkewed(); err != nil {
		return engine.Plan{}, err
	}
	if err := b.gather(ctx); err != nil {
		return engine.Plan{}, err
	}
	b.propose()
	if err := b.readTokens(ctx); err != nil {
		return engine.Plan{}, err
	}
	b.planWorkspaces()
	b.noteVanished()
	return b.finish()
}

// hit is a failed finding and what is to be done about it.
type hit struct {
	finding engine.Finding
	action  engine.Action
}

// target is a token of a workspace.
type target struct{ workspace, token string }

type builder struct {
	in         Input
	asOf       time.Time
	policies   map[string]engine.Policy
	workspaces map[string]*workspace // by id
	order      []*workspace          // as in the report
	tokens     map[target][]hit      // in the order of findings: worst first
	given      map[target]bool       // tokens that their owners gave up
	steps      []engine.Step
	notPlanned []engine.NotPlanned
}

// workspace is a judged workspace and what the token pass learns about it.
type workspace struct {
	engine.WorkspaceReport
	hits     []hit // on the workspace itself
	caller   string
	proposed []*proposed
	log      engine.Known // the span of the audit log
}

func newBuilder(in Input) *builder {
	b := &builder{
		in: in, asOf: in.Report.AsOf.UTC(), policies: map[string]engine.Policy{}, workspaces: map[string]*workspace{}, tokens: map[target][]hit{},
		given: in.Replies.revoked(),
	}
	for _, p := range in.Report.Policies {
		b.policies[p.Policy.ID] = p.Policy
	}
	for _, report := range in.Report.Workspaces {
		w := &workspace{WorkspaceReport: report, caller: callerOf(report.Snapshot)}
		var span engine.LogSpan
		if json.Unmarshal(report.Snapshot.Documents[engine.SectionAuditLog], &span) == nil {
			w.log = engine.Known{LogRead: true, LogFirst: span.First, LogLast: span.Last}
		}
		b.workspaces[report.Snapshot.Workspace.ID] = w
		b.order = append(b.order, w)
	}
	return b
}

// callerOf is the principal that the snapshot was read as; "" when not known.
func callerOf(s engine.Snapshot) string {
	var document struct {
		Caller struct {
			ID string `json:"id"`
		} `json:"caller"`
	}
	if err := json.Unmarshal(s.Documents[engine.SectionWorkspace], &document); err != nil {
		return ""
	}
	return document.Caller.ID
}

// gather sorts the failed findings by their target.
func (b *builder) gather(ctx context.Context) error {
	for finding, err := range b.in.Report.Findings {
		if err := firstError(err, ctx.Err()); err != nil {
			return fmt.Errorf("read findings: %w", err)
		}
		if finding.Status != engine.Fail || !b.chosen(finding) {
			continue
		}
		w := b.workspaces[finding.WorkspaceID]
		if w == nil {
			return fmt.Errorf("plan: finding of policy %s is in workspace %s, which was not judged", finding.Policy, finding.WorkspaceID)
		}
		// All that a plan says of a finding comes from here: nothing after this
		// sees the secrets that a policy quotes.
		finding = finding.Redacted()
		b.place(w, hit{finding: finding, action: b.remedy(finding)})
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) chosen(f engine.Finding) bool {
	c, w := b.in.Choice, b.workspaces[f.WorkspaceID]
	p, known := b.policies[f.Policy]
	return (c.Policy == nil || known && c.Policy(p)) && (c.Workspace == nil || w == nil || c.Workspace(w.Snapshot.Workspace))
}

// remedy is what the configuration, else the policy, says; a token that its
// owner gave up is revoked instead, unless nothing is to be done about it.
func (b *builder) remedy(f engine.Finding) engine.Action {
	action := engine.Action(f.Remedy)
	if configured, set := b.in.Config.Remedies[f.Policy]; set {
		action = configured
	}
	if action != remedy.None && f.Resource == engine.ResourceToken && b.given[target{f.WorkspaceID, f.ResourceID}] {
		return engine.Revoke
	}
	return action
}

// place puts a finding where it is planned, or says why it is not.
func (b *builder) place(w *workspace, h hit) {
	switch {
	case h.action == remedy.None:
		b.skip(h, "disabled_remedy", "the configuration gives this policy no remedy")
	case !slices.Contains(remedy.For(h.finding.Resource), h.action):
		b.skip(h, "no_remedy", fmt.Sprintf("remedy %q does not suit a %s", h.action, h.finding.Resource))
	case h.finding.Resource == engine.ResourceSecret:
		b.skip(h, "no_remedy", "patrol changes tokens and workspaces; an OAuth secret is for people to replace")
	case h.finding.Resource == engine.ResourceWorkspace:
		w.hits = append(w.hits, h)
	case !w.Snapshot.Coverage[engine.SectionTokens].Whole():
		b.skip(h, "coverage", "the workspace's tokens were not read whole: "+string(w.Snapshot.Coverage[engine.SectionTokens].Status))
	default:
		key := target{h.finding.WorkspaceID, h.finding.ResourceID}
		b.tokens[key] = append(b.tokens[key], h)
	}
}

func (b *builder) skip(h hit, reason, detail string) {
	b.notPlanned = append(b.notPlanned, engine.NotPlanned{
		Policy: h.finding.Policy, WorkspaceID: h.finding.WorkspaceID, ResourceID: h.finding.ResourceID, Reason: reason, Detail: detail,
	})
}

func (b *builder) skipAll(hits []hit, reason, detail string) {
	for _, h := range hits {
		b.skip(h, reason, detail)
	}
}

// readTokens passes once over the population. It makes the steps on tokens and
// counts those that a change to the whole workspace would disable.
func (b *builder) readTokens(ctx context.Context) error {
	counts := slices.ContainsFunc(b.order, func(w *workspace) bool { return len(w.proposed) > 0 })
	if len(b.tokens) == 0 && !counts {
		return nil
	}
	for row, err := range b.in.Report.Tokens {
		if err := firstError(err, ctx.Err()); err != nil {
			return fmt.Errorf("read tokens: %w", err)
		}
		w := b.workspaces[row.Workspace.ID]
		if w == nil {
			continue
		}
		b.count(w, row.Subject)
		key := target{row.Workspace.ID, row.Token.ID}
		if hits := b.tokens[key]; hits != nil {
			delete(b.tokens, key)
			if field := row.Token.Odd(); field != "" {
				b.skipAll(hits, "odd_row", "the token's row could not be read whole ("+field+"): look at it by hand")
				continue
			}
			b.planToken(w, row.Subject, hits)
		}
	}
	return nil
}

// noteVanished tells of findings whose token the population does not hold.
func (b *builder) noteVanished() {
	for _, hits := range b.tokens {
		b.skipAll(hits, "no_token", "the snapshot does not hold the token")
	}
}
