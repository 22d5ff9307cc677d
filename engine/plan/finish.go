package plan

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

// finish puts the plan together, in an order that depends on its content only.
func (b *builder) finish() (engine.Plan, error) {
	b.narrow()
	slices.SortFunc(b.steps, compareSteps)
	slices.SortFunc(b.notPlanned, compareNotPlanned)
	p := engine.Plan{
		Schema: engine.PlanSchema, Version: b.in.Version, Engine: b.in.Engine, Policies: engine.PolicyDigest(b.grounds()),
		AsOf: b.time(0), NotBefore: b.time(b.in.Config.Grace), ExpiresAt: b.time(b.in.Config.Grace + b.validity()), Planner: b.in.Planner, Contact: b.in.Config.Contact, WhatIf: b.in.Report.WhatIf,
		Workspaces: b.planned(), Limits: b.in.Config.Limits, Protected: sortedProtected(b.in.Config.Protected),
		Steps: b.steps, NotPlanned: b.notPlanned, OnUse: cmp.Or(b.in.Config.OnUse, OnUseSkip), Reevaluates: b.retuning(),
	}
	if p.Steps == nil {
		p.Steps = []engine.Step{}
	}
	if p.NotPlanned == nil {
		p.NotPlanned = []engine.NotPlanned{}
	}
	return Complete(p)
}

// Complete gives a plan made by hand (such as one that undoes another) its id,
// and the very form that Read would give it: the elements of its lists are
// replaced in place.
func Complete(p engine.Plan) (engine.Plan, error) {
	same, err := reread(shell(p))
	if err != nil {
		return p, fmt.Errorf("complete plan: %w", err)
	}
	same.Steps, same.NotPlanned = p.Steps, p.NotPlanned
	for i := range same.Steps {
		if same.Steps[i], err = reread(same.Steps[i]); err != nil {
			return p, fmt.Errorf("complete plan: %w", err)
		}
	}
	for i := range same.NotPlanned {
		if same.NotPlanned[i], err = reread(same.NotPlanned[i]); err != nil {
			return p, fmt.Errorf("complete plan: %w", err)
		}
	}
	same.ID = planID(same)
	return same, badPlan(checkPlan(same))
}

func (b *builder) validity() time.Duration { return cmp.Or(b.in.Config.Validity, DefaultValidity) }

func (b *builder) time(after time.Duration) string { return b.asOf.Add(after).Format(time.RFC3339) }

// planID is derived from all else in the plan.
func planID(p engine.Plan) string {
	p.ID = ""
	sum := sha256.New()
	_ = writePlan(sum, p, compact()) // a hash takes all
	return "p" + sumOf(sum)[:16]
}

// grounds are the policies that steps rest on.
func (b *builder) grounds() []engine.Policy {
	return Grounds(b.steps, func(id string) (engine.Policy, bool) { p, ok := b.policies[id]; return p, ok })
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

func (b *builder) planned() []engine.PlanWorkspace {
	list, involved := []engine.PlanWorkspace{}, map[string]bool{}
	for _, s := range b.steps {
		involved[s.WorkspaceID] = true
	}
	for _, n := range b.notPlanned {
		involved[n.WorkspaceID] = true
	}
	for _, w := range b.order {
		if !involved[w.Snapshot.Workspace.ID] {
			continue
		}
		s := w.Snapshot
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
		list = append(list, one)
	}
	return list
}

// retuning keeps what bears on the steps' policies.
func (b *builder) retuning() engine.Retuning {
	kept := engine.Retuning{}
	for _, step := range b.steps {
		for _, id := range step.Policies {
			tuning, set := b.in.Tuning[step.WorkspaceID][id]
			if !set || tuning.Severity == "" && len(tuning.Params) == 0 {
				continue
			}
			if kept[step.WorkspaceID] == nil {
				kept[step.WorkspaceID] = map[string]engine.PolicyTuning{}
			}
			kept[step.WorkspaceID][id] = tuning
		}
	}
	return kept
}

func sortedProtected(p engine.Protected) engine.Protected {
	clean := func(list []string) []string {
		sorted := slices.Compact(slices.Sorted(slices.Values(list)))
		if sorted == nil {
			return []string{}
		}
		return sorted
	}
	return engine.Protected{Tokens: clean(p.Tokens), Principals: clean(p.Principals)}
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

func compareNotPlanned(a, b engine.NotPlanned) int {
	return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.WorkspaceID, b.WorkspaceID), cmp.Compare(a.ResourceID, b.ResourceID), cmp.Compare(a.Reason, b.Reason))
}
