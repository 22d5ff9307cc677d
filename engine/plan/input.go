package plan

import (
	"errors"
	"fmt"
	"time"

	"patrol/engine"
)

// None is the remedy of a policy whose findings get no step.
const None engine.Action = "none"

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
		if known && !suits(c.Remedies[id], p.Resource) {
			wrong = append(wrong, fmt.Errorf("remedy %q does not suit %s, which judges a %s: want one of %v", c.Remedies[id], id, p.Resource, Remedies(p.Resource)))
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

// Remedies are the remedies that a finding on a resource can have.
func Remedies(resource engine.Resource) []engine.Action {
	switch resource {
	case engine.ResourceWorkspace:
		return []engine.Action{engine.SetSetting, engine.ChangeGrant, engine.Notify, engine.Manual, None}
	case engine.ResourceSecret:
		return []engine.Action{engine.Notify, engine.Manual, None}
	}
	return []engine.Action{engine.Revoke, engine.NarrowScopes, engine.SetComment, engine.Notify, engine.Manual, None}
}

func suits(action engine.Action, resource engine.Resource) bool {
	for _, possible := range Remedies(resource) {
		if action == possible {
			return true
		}
	}
	return false
}
