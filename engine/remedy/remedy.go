// Package remedy holds, in one file each, all that patrol knows of what can be
// done about a finding: the words, what it could break, how a plan proposes it,
// what it reads and sends, how it looks for those who apply by other means, and
// how it is taken back. Plans, reports, notices and apply ask here.
//
// The package knows the API's paths and bodies and nothing of files, journals
// or approvals: apply decides whether a step may be done, a Remedy does it once.
package remedy

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"patrol/engine"
)

// None is the remedy of a policy whose findings get no step.
const None engine.Action = "none"

// Remedy is one thing that can be done about a finding.
type Remedy struct {
	Name  engine.Action
	Doc   string            // what it does
	Owner string            // what it does to a token, or asks, told to the token's owner
	For   []engine.Resource // what a finding is about that it can answer
	Rank  int               // among steps of the same risk the lower is done first; all differ
	Sent  string            // the request that changes something, as "DELETE /path"; "" of a remedy for people

	Section engine.SectionName // what must have been read whole
	Removes bool               // of a token that is gone then: every other step on it is pointless
	Safe    string             // why nothing can break, where nothing can; "" otherwise
	Partial bool               // takes a part of a token's use only

	// Token proposes a step on a token; unable says why there is none, so that a
	// person has to decide.
	Token func(c Case) (p Proposal, unable string)
	// Workspace proposes steps on a workspace for findings.
	Workspace func(s Site, findings []engine.Finding) ([]Change, []Refusal)
	// Endangers says which tokens cannot be used any more after a step on a
	// workspace; nil: none. Ask Endangered.
	Endangers func(s engine.Step) func(engine.Subject) bool
	// Effect is what will be there after a step, where the name does not say it all.
	Effect func(s engine.Step) string
	// CLI is the step as arguments of the Databricks command line, quoted for a
	// shell; profile is the flag that signs in.
	CLI func(s engine.Step, profile string) string
	// HCL writes the steps of a workspace for Terraform; nil: it cannot say them.
	HCL func(b *strings.Builder, steps []engine.Step, workspace string)

	// Read looks at the target. It sends GET only.
	Read func(ctx context.Context, c engine.Client, s engine.Step) (engine.Observation, error)
	// Do sends the one request of the step. before is what Read saw last.
	Do func(ctx context.Context, c engine.Client, s engine.Step, before engine.Observation) (engine.Receipt, error)
	// Reached reports whether the target is as the step wants it.
	Reached func(s engine.Step, seen engine.Observation) bool
	// Undo is what must hold and what is wanted of a step that takes s back, from
	// what the journal kept; why says why there is none.
	Undo func(s engine.Step, prior map[string]any) (identity, expected map[string]any, why string)
}

// Changes reports whether a step sends anything to a workspace.
func (r Remedy) Changes() bool { return r.Sent != "" }

// OnToken reports whether the target of a changing step is a token.
func (r Remedy) OnToken() bool { return r.Changes() && slices.Contains(r.For, engine.ResourceToken) }

// Case is a token that a remedy is proposed for.
type Case struct {
	engine.Subject
	Policies     []string
	Param        func(policy, name string) any // as in force there
	RecentlyUsed bool

	Activity   *engine.Activity // what the audit log says about it
	UseUnknown string           // why it tells nothing though it was asked for
	Reads      bool             // it was only seen to read, and may write
}

// Proposal is a step on a token.
type Proposal struct {
	Expected map[string]any
	Why      string   // more about what could break
	Loses    bool     // the token loses what was seen in use
	Fails    []string // calls that were seen and will be refused
}

// Site is a workspace that a remedy is proposed for.
type Site struct {
	engine.WorkspaceReport
	Policy func(id string) engine.Policy
	Param  func(policy, name string) any // as in force there
}

// Change is a step on a workspace.
type Change struct {
	Findings           []engine.Finding // its grounds
	Target             string
	Identity, Expected map[string]any
	Safe               engine.Risk // when no live token loses its use
	Why                string      // what becomes of those that do
	Protected          string      // what to do when a protected one would
}

// Refusal is a finding for which no step can be proposed.
type Refusal struct {
	Finding        engine.Finding
	Reason, Detail string
}

// refuse refuses all of some findings.
func refuse(findings []engine.Finding, reason, detail string) (refusals []Refusal) {
	for _, f := range findings {
		refusals = append(refusals, Refusal{f, reason, detail})
	}
	return refusals
}

// Parsers read rows of answers as the collectors do, so that what apply sees
// of a token or of the grants is spelt as what the plan saw.
type Parsers struct {
	Token  func(row []byte) (engine.Token, error)
	Grants func(answer []byte) (engine.Grants, error)
	// Principal reads one of the directory. Its groups are those that it is in
	// directly, and whether it is an admin it does not tell.
	Principal func(answer []byte, kind engine.Kind) (engine.Principal, error)
}

// set is what remedies register with: one method each, in their own file.
type set struct{ parse Parsers }

// All returns every remedy: those that change a workspace first, in the order in
// which they are done.
func All(p Parsers) []Remedy {
	all := engine.Plugins[Remedy](set{p})
	slices.SortFunc(all, func(a, b Remedy) int {
		if a.Changes() != b.Changes() {
			return strings.Compare(b.Sent, a.Sent) // for people: nothing is sent
		}
		return cmp.Compare(a.Rank, b.Rank)
	})
	return all
}

// words are all remedies, to be asked for their words: they read nothing.
var words = sync.OnceValue(func() []Remedy { return All(Parsers{}) })

// Of is the remedy of an action; its zero value when there is none.
func Of(action engine.Action) Remedy {
	for _, r := range words() {
		if r.Name == action {
			return r
		}
	}
	return Remedy{}
}

// Names are the actions in the order of All.
func Names() []engine.Action {
	var names []engine.Action
	for _, r := range words() {
		names = append(names, r.Name)
	}
	return names
}

// For are the actions that a finding on a resource can have, with None.
func For(resource engine.Resource) []engine.Action {
	var names []engine.Action
	for _, r := range words() {
		if slices.Contains(r.For, resource) {
			names = append(names, r.Name)
		}
	}
	return append(names, None)
}

// Changes reports whether a step sends anything to a workspace.
func Changes(s engine.Step) bool { return Of(s.Action).Changes() }

// OnToken reports whether a step changes a token.
func OnToken(s engine.Step) bool { return Of(s.Action).OnToken() }

// Effect is what will be there after a step; "" where its name says it all.
func Effect(s engine.Step) string {
	if effect := Of(s.Action).Effect; effect != nil {
		return effect(s)
	}
	return ""
}

// Endangered says which live tokens cannot be used any more after a step on a
// workspace; nil: none. Plan and apply both ask here.
func Endangered(s engine.Step) func(engine.Subject) bool {
	ask := Of(s.Action).Endangers
	if ask == nil {
		return nil
	}
	endangers := ask(s)
	if endangers == nil {
		return nil
	}
	return func(t engine.Subject) bool { return (t.Facts.Expired == nil || !*t.Facts.Expired) && endangers(t) }
}

// Danger ranks a step by what it could break: high risk first, then steps that
// change something, then those for people.
func Danger(s engine.Step) int {
	if !Changes(s) {
		return 0
	}
	return 1 + slices.Index(Levels(), s.Risk.Level)
}

// The levels of risk.
const (
	Low    = "low"
	Medium = "medium"
	High   = "high"
)

// Levels are those of risk, the least first.
func Levels() []string { return []string{Low, Medium, High} }

// Undo is what takes a step back, from what the journal kept of it.
func Undo(s engine.Step, kept json.RawMessage) (identity, expected map[string]any, why string) {
	var prior map[string]any
	if kept != nil {
		if err := json.Unmarshal(kept, &prior); err != nil {
			return nil, nil, "the value before cannot be read: " + err.Error()
		}
	}
	undo := Of(s.Action).Undo
	if undo == nil {
		return nil, nil, notKept
	}
	return undo(s, prior)
}

// text is a value of a state for people.
func textOf(value any, missing string) string {
	if texts := engine.TextsOf(value); len(texts) > 0 {
		return strings.Join(texts, ", ")
	}
	if text, is := value.(string); is {
		return text
	}
	return missing
}

// forPeople completes a remedy that a person carries out.
func forPeople(r Remedy) Remedy {
	r.For, r.Safe = []engine.Resource{engine.ResourceToken, engine.ResourceWorkspace, engine.ResourceSecret}, "changes nothing"
	r.Owner = "Please look at it."
	r.Token = func(Case) (Proposal, string) { return Proposal{Expected: map[string]any{}}, "" }
	return r
}

// Notify tells the owner of a token, or who runs a workspace, what is to be done.
func (set) Notify() Remedy {
	return forPeople(Remedy{Name: engine.Notify, Rank: 0, Doc: "Tells the owner what is wrong. Nothing is changed."})
}

// Manual is for a person to do.
func (set) Manual() Remedy {
	return forPeople(Remedy{Name: engine.Manual, Rank: 1, Doc: "Is for a person to do. Nothing is changed."})
}
