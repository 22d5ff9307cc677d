package plan

import (
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
