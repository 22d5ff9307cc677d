// Package plan turns the findings of an evaluation into steps that a person can
// approve, and holds approvals to the very bytes that were approved.
//
// Build makes a Plan of a Report: one step per target and action, lowest risk
// first, with the evidence it rests on, what must still hold right before it,
// and what should hold after it. Nothing here touches a workspace. Encode and
// Read are the plan file; its bytes are written once and never serialised
// again, because an approval is a Statement over their SHA-256. Verify decides
// which steps are approved: it checks signatures before it parses what they
// sign, and refuses whatever it does not fully understand.
package plan

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

// The longest and the usual time that a plan is good for.
const (
	DefaultValidity = 24 * time.Hour
	MaxValidity     = 72 * time.Hour
)

// What happens to a token that was used since the plan was made.
const (
	OnUseSkip    = "skip"
	OnUseProceed = "proceed"
)

// Config is what the operator decides about remediation. Policies only label.
type Config struct {
	Remedies  map[string]engine.Action // by policy id; others keep their policy's remedy
	Protected engine.Protected
	Limits    engine.Limits
	Grace     time.Duration // from the judgement to the first change
	Validity  time.Duration // from then on, for so long a plan is good; 0 means DefaultValidity
	OnUse     string        // "" means OnUseSkip
	Contact   string        // whom owners and reviewers ask
}

// Input is everything that a plan is a function of.
type Input struct {
	Report  engine.Report
	Tuning  engine.Retuning
	Choice  Choice
	Config  Config
	Replies Replies // of the owners

	Version string // of patrol
	Engine  string // version of OPA
	Planner string
}

// Choice narrows a plan. The zero value chooses everything.
type Choice struct {
	Policy    func(engine.Policy) bool    // nil: all
	Workspace func(engine.Workspace) bool // nil: all
	Step      func(engine.Step) bool      // nil: all

	// What these leave for the next plan is told in NotPlanned. Both take the
	// riskiest findings first.
	Most         int // steps; 0: all
	WithinLimits bool
}

// check refuses configuration that no plan can follow.
func (c Config) check(policies map[string]engine.Policy) error {
	var wrong []error
	for _, id := range engine.SortedKeys(c.Remedies) {
		p, known := policies[id]
		if known && !slices.Contains(remedy.For(p.Resource), c.Remedies[id]) {
			wrong = append(wrong, fmt.Errorf("remedy %q does not suit %s, which judges a %s: want one of %v", c.Remedies[id], id, p.Resource, remedy.For(p.Resource)))
		}
	}
	if c.Validity < 0 || c.Validity > MaxValidity {
		wrong = append(wrong, fmt.Errorf("a plan is good for at most %s, not %s", MaxValidity, c.Validity))
	}
	if c.Grace < 0 {
		wrong = append(wrong, fmt.Errorf("the grace period is negative: %s", c.Grace))
	}
	if len(wrong) == 0 {
		return nil
	}
	return &engine.Error{Class: engine.ClassUsage, Reason: "config", Op: "plan", Hint: "Correct `remediation` in the configuration.", Err: errors.Join(wrong...)}
}

// target is a token of a workspace.
type target struct{ workspace, token string }

type builder struct {
	in         Input
	policies   map[string]engine.Policy
	workspaces map[string]*workspace       // by id
	order      []*workspace                // as in the report
	tokens     map[target][]engine.Finding // what failed, worst first; its Remedy is what is to be done about it
	given      map[target]bool             // tokens that their owners gave up
	steps      []engine.Step
	notPlanned []engine.NotPlanned
}

// workspace is a judged workspace and what the token pass learns about it.
type workspace struct {
	engine.WorkspaceReport
	failed   []engine.Finding // on the workspace itself
	caller   string           // the principal that it was read as; "" when not known
	proposed []*proposed
	log      engine.Known // the span of the audit log
}

// Build makes the plan of an evaluation. The same input gives the same plan.
// Each failed finding of the chosen policies is the ground of one step, or
// stands in NotPlanned with the reason. The error is of ClassRefused with the
// reason clock_skew when this machine's clock was more than an hour off as a
// workspace was read: when a plan ends and how old its snapshot is would be
// counted by a clock that is wrong.
func Build(ctx context.Context, in Input) (engine.Plan, error) {
	b := &builder{
		in: in, policies: map[string]engine.Policy{}, workspaces: map[string]*workspace{}, tokens: map[target][]engine.Finding{}, given: in.Replies.revoked(),
	}
	for _, p := range in.Report.Policies {
		b.policies[p.Policy.ID] = p.Policy
	}
	if err := in.Config.check(b.policies); err != nil {
		return engine.Plan{}, err
	}
	var skewed []error
	for _, report := range in.Report.Workspaces {
		w := &workspace{WorkspaceReport: report}
		var read struct {
			Caller struct {
				ID string `json:"id"`
			} `json:"caller"`
		}
		if json.Unmarshal(report.Snapshot.Documents[engine.SectionWorkspace], &read) == nil {
			w.caller = read.Caller.ID
		}
		var span engine.LogSpan
		if json.Unmarshal(report.Snapshot.Documents[engine.SectionAuditLog], &span) == nil {
			w.log = engine.Known{LogRead: true, LogFirst: span.First, LogLast: span.Last}
		}
		b.workspaces[report.Snapshot.Workspace.ID] = w
		b.order = append(b.order, w)
		hours, way := w.Snapshot.HoursOff(), "ahead"
		if hours < 0 {
			hours, way = -hours, "behind"
		}
		if hours != 0 {
			skewed = append(skewed, fmt.Errorf("when workspace %s was read, this machine's clock was %d hours %s", w.Snapshot.Workspace.Name, hours, way))
		}
	}
	if len(skewed) > 0 {
		return engine.Plan{}, refused("clock_skew", "plan", "Correct this machine's clock, and audit again.", errors.Join(skewed...))
	}
	for finding, err := range in.Report.Findings {
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return engine.Plan{}, fmt.Errorf("read findings: %w", err)
		}
		if err := b.gather(finding); err != nil {
			return engine.Plan{}, err
		}
	}
	b.propose()
	if len(b.tokens) > 0 || slices.ContainsFunc(b.order, func(w *workspace) bool { return len(w.proposed) > 0 }) {
		for row, err := range in.Report.Tokens {
			if err := cmp.Or(err, ctx.Err()); err != nil {
				return engine.Plan{}, fmt.Errorf("read tokens: %w", err)
			}
			if w := b.workspaces[row.Workspace.ID]; w != nil {
				b.token(w, row.Subject)
			}
		}
	}
	b.planWorkspaces()
	for _, findings := range b.tokens {
		b.skip("no_token", "the snapshot does not hold the token", findings...)
	}
	b.narrow()
	return b.finish()
}

// gather puts a failed finding where it is planned, by its target, or says why
// it is not.
func (b *builder) gather(finding engine.Finding) error {
	choice, w, p := b.in.Choice, b.workspaces[finding.WorkspaceID], b.policies[finding.Policy]
	switch {
	case finding.Status != engine.Fail, choice.Policy != nil && (p.ID == "" || !choice.Policy(p)):
		return nil
	case w == nil:
		return fmt.Errorf("plan: finding of policy %s is in workspace %s, which was not judged", finding.Policy, finding.WorkspaceID)
	case choice.Workspace != nil && !choice.Workspace(w.Snapshot.Workspace):
		return nil
	}
	// All that a plan says of a finding comes from here: nothing after this
	// sees the secrets that a policy quotes.
	finding = finding.Redacted()
	key, action := target{finding.WorkspaceID, finding.ResourceID}, engine.Action(finding.Remedy)
	if configured, set := b.in.Config.Remedies[finding.Policy]; set {
		action = configured
	}
	if action != remedy.None && finding.Resource == engine.ResourceToken && b.given[key] { // its owner gave it up
		action = engine.Revoke
	}
	finding.Remedy = string(action)
	switch tokens := w.Snapshot.Coverage[engine.SectionTokens]; {
	case action == remedy.None:
		b.skip("disabled_remedy", "the configuration gives this policy no remedy", finding)
	case !slices.Contains(remedy.For(finding.Resource), action):
		b.skip("no_remedy", fmt.Sprintf("remedy %q does not suit a %s", action, finding.Resource), finding)
	case finding.Resource == engine.ResourceSecret:
		b.skip("no_remedy", "patrol changes tokens and workspaces; an OAuth secret is for people to replace", finding)
	case finding.Resource == engine.ResourceWorkspace:
		w.failed = append(w.failed, finding)
	case !tokens.Whole():
		b.skip("coverage", "the workspace's tokens were not read whole: "+string(tokens.Status), finding)
	default:
		b.tokens[key] = append(b.tokens[key], finding)
	}
	return nil
}

func (b *builder) skip(reason, detail string, findings ...engine.Finding) {
	for _, f := range findings {
		b.notPlanned = append(b.notPlanned, engine.NotPlanned{Policy: f.Policy, WorkspaceID: f.WorkspaceID, ResourceID: f.ResourceID, Reason: reason, Detail: detail})
	}
}

// finish puts the plan together, in an order that depends on its content only.
func (b *builder) finish() (engine.Plan, error) {
	slices.SortFunc(b.steps, compareSteps)
	slices.SortFunc(b.notPlanned, func(a, b engine.NotPlanned) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.WorkspaceID, b.WorkspaceID), cmp.Compare(a.ResourceID, b.ResourceID), cmp.Compare(a.Reason, b.Reason))
	})
	config := b.in.Config
	sorted := func(list []string) []string {
		return append([]string{}, slices.Compact(slices.Sorted(slices.Values(list)))...)
	}
	grounds := Grounds(b.steps, func(id string) (engine.Policy, bool) { p, ok := b.policies[id]; return p, ok })
	p := engine.Plan{
		Schema: engine.PlanSchema, Version: b.in.Version, Engine: b.in.Engine, Policies: engine.PolicyDigest(grounds),
		AsOf: b.time(0), NotBefore: b.time(config.Grace), ExpiresAt: b.time(config.Grace + cmp.Or(config.Validity, DefaultValidity)),
		Planner: b.in.Planner, Contact: config.Contact, WhatIf: b.in.Report.WhatIf, Workspaces: []engine.PlanWorkspace{}, Limits: config.Limits,
		Protected: engine.Protected{Tokens: sorted(config.Protected.Tokens), Principals: sorted(config.Protected.Principals)},
		Steps:     append([]engine.Step{}, b.steps...), NotPlanned: append([]engine.NotPlanned{}, b.notPlanned...),
		OnUse: cmp.Or(config.OnUse, OnUseSkip), Reevaluates: engine.Retuning{},
	}
	involved := map[string]bool{}
	for _, n := range p.NotPlanned {
		involved[n.WorkspaceID] = true
	}
	for _, s := range p.Steps {
		involved[s.WorkspaceID] = true
		for _, id := range s.Policies { // what the configuration changes about the steps' policies
			tuning := b.in.Tuning[s.WorkspaceID][id]
			if tuning.Severity == "" && len(tuning.Params) == 0 {
				continue
			}
			if p.Reevaluates[s.WorkspaceID] == nil {
				p.Reevaluates[s.WorkspaceID] = map[string]engine.PolicyTuning{}
			}
			p.Reevaluates[s.WorkspaceID][id] = tuning
		}
	}
	for _, w := range b.order {
		s := w.Snapshot
		if !involved[s.Workspace.ID] {
			continue
		}
		one := engine.PlanWorkspace{
			ID: s.Workspace.ID, Name: s.Workspace.Name, Host: s.Workspace.Host, Cloud: s.Workspace.Cloud, Labels: s.Workspace.Labels,
			Snapshot: fmt.Sprint(s.ID), Digest: s.Digest, CollectedAt: s.CollectedAt.UTC().Format(time.RFC3339),
			Tokens: s.Tokens, Coverage: map[engine.SectionName]engine.CoverageStatus{},
		}
		if one.Labels == nil {
			one.Labels = map[string]string{}
		}
		for name, coverage := range s.Coverage {
			one.Coverage[name] = coverage.ForPlan()
		}
		p.Workspaces = append(p.Workspaces, one)
	}
	return Complete(p)
}

// Complete gives a plan made by hand (such as one that undoes another) its id,
// and the very form that Read would give it.
func Complete(p engine.Plan) (engine.Plan, error) {
	head := p
	head.Steps, head.NotPlanned = nil, nil
	same, err := asRead(head)
	same.Steps, same.NotPlanned = p.Steps, p.NotPlanned // item by item, as pieces has them
	for i := range same.Steps {
		if err == nil {
			same.Steps[i], err = asRead(same.Steps[i])
		}
	}
	for i := range same.NotPlanned {
		if err == nil {
			same.NotPlanned[i], err = asRead(same.NotPlanned[i])
		}
	}
	if err != nil {
		return p, fmt.Errorf("complete plan: %w", err)
	}
	same.ID = planID(same)
	return same, badPlan(checkPlan(same))
}

// asRead is a value as it comes back from its file.
func asRead[T any](value T) (same T, err error) {
	err = decodeStrict(engine.CompactJSON(value), &same)
	return same, err
}

// time is so long after the judgement.
func (b *builder) time(after time.Duration) string {
	return b.in.Report.AsOf.UTC().Add(after).Format(time.RFC3339)
}

// planID is derived from all else in the plan.
func planID(p engine.Plan) string {
	p.ID = ""
	sum := sha256.New()
	pieces(p, true, func(text []byte) { sum.Write(text) })
	return "p" + hex.EncodeToString(sum.Sum(nil))[:16]
}

// Grounds are the policies that steps rest on, by id, without those that find
// does not know. Their engine.PolicyDigest is the plan's policy_digest.
func Grounds(steps []engine.Step, find func(id string) (engine.Policy, bool)) []engine.Policy {
	ids := map[string]bool{}
	for _, step := range steps {
		for _, id := range step.Policies {
			ids[id] = true
		}
	}
	var policies []engine.Policy
	for _, id := range engine.SortedKeys(ids) {
		if p, ok := find(id); ok {
			policies = append(policies, p)
		}
	}
	return policies
}

// compareSteps orders by what could break: steps for people first, then by
// risk, longest idle first. Switching tokens off is the very last: nothing
// could be done after it by a caller that signs in with one.
func compareSteps(a, b engine.Step) int {
	return cmp.Or(
		cmp.Compare(stage(a), stage(b)), cmp.Compare(riskRank(a), riskRank(b)), cmp.Compare(remedy.Of(a.Action).Rank, remedy.Of(b.Action).Rank),
		cmp.Compare(idle(b), idle(a)), cmp.Compare(a.Severity.Rank(), b.Severity.Rank()),
		cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.WorkspaceID, b.WorkspaceID), cmp.Compare(a.Target, b.Target))
}

func stage(s engine.Step) int {
	switch {
	case !remedy.Changes(s):
		return 0
	case remedy.DisablesTokens(s):
		return 2
	}
	return 1
}

func riskRank(s engine.Step) int {
	return slices.Index(remedy.Levels(), s.Risk.Level)
}

func idle(s engine.Step) int64 {
	if s.Risk.IdleDays == nil || !remedy.Changes(s) {
		return -1
	}
	return *s.Risk.IdleDays
}
