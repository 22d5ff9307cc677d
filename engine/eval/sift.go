package eval

import (
	"slices"

	"patrol/engine"
)

// gate tells of a policy, without running it, that it passes or does not apply
// on a token. What it lets through the policy decides alone.
type gate struct {
	applies, fires func(*engine.Subject) bool
}

// settle is the result on a token that the policy judges and of which it refers
// to nothing unknown; open when the policy must be run.
func (g *gate) settle(t *engine.Subject) (status engine.Status, settled bool) {
	switch {
	case g == nil:
		return "", false
	case !g.applies(t):
		return engine.NotApplicable, true
	case !g.fires(t):
		return engine.Pass, true
	}
	return "", false
}

// newGate is nil where the policy must be run on every token that it judges.
func newGate(p Pushdown, asOf int64) *gate {
	if p.Every != "" {
		return nil
	}
	applies, exact := engine.Predicate(p.Applies, asOf)
	if !exact {
		return nil
	}
	fires, _ := engine.Predicate(p.Fires, asOf)
	return &gate{applies, fires}
}

// comparesTokens reports whether policies compare tokens among each other.
func comparesTokens(assignments []*assignment) bool {
	among := newFactTable().amongOthers()
	return slices.ContainsFunc(assignments, func(a *assignment) bool { return a.reads.facts&among != 0 })
}

// amongOthers are the facts for which tokens must be compared with each other,
// with the snapshots before or with the audit log.
func (t factTable) amongOthers() facts { return t.succession | t.near | t.past | t.log }
