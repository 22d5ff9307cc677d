package eval

import (
	"context"
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
	fires, _ := engine.Predicate(p.Rule.Fires, asOf)
	return &gate{applies, fires}
}

// sift gives the assignments on tokens their gates and asks for the tokens that
// have to be looked at. Without a sift of the job's every token is.
func (e *evaluation) sift(ctx context.Context, j *judge, assignments []*assignment) error {
	e.spared, e.tokens = nil, e.job.Tokens
	if e.options.NoPushdown {
		return nil
	}
	var rules []engine.SiftRule
	sparing := true
	for _, a := range assignments {
		p := a.pushdown(ctx, tokenInputs(), j.input(a))
		a.gate = newGate(p, e.view.asOf)
		sparing = sparing && a.gate != nil && holdsAlways(p.Applies)
		rules = append(rules, p.Rule)
	}
	if e.job.Sift == nil {
		return nil
	}
	if !sparing {
		rules = nil
	}
	sifted, err := e.job.Sift(engine.SiftRequest{Rules: rules, Among: comparesTokens(assignments)})
	e.spared, e.tokens = sifted.Spared, sifted.Tokens
	return err
}

// holdsAlways reports whether a condition is plainly true.
func holdsAlways(c engine.Condition) bool {
	switch c := c.(type) {
	case engine.All:
		for _, one := range c {
			if !holdsAlways(one) {
				return false
			}
		}
		return true
	case engine.Any:
		for _, one := range c {
			if holdsAlways(one) {
				return true
			}
		}
	}
	return false
}

// countSpared counts the results on tokens that were not even read: a policy
// passes on those that it judges.
func (e *evaluation) countSpared(assignments []*assignment) {
	if e.spared == nil {
		return
	}
	expired := e.spared.Expired - e.read.Expired
	live := e.spared.Total - e.read.Total - expired
	for _, a := range assignments {
		judged, others := live, expired
		switch a.Judges {
		case engine.JudgesExpired:
			judged, others = expired, live
		case engine.JudgesAll:
			judged, others = live+expired, 0
		}
		add(e.tallies[a.ID], engine.Pass, judged)
		add(e.tallies[a.ID], engine.NotApplicable, others)
	}
}

// count notes that a token was read.
func (e *evaluation) count(t engine.Subject) {
	e.read.Total++
	if t.Facts.Expired != nil && *t.Facts.Expired {
		e.read.Expired++
	}
}

// comparesTokens reports whether policies compare tokens among each other.
func comparesTokens(assignments []*assignment) bool {
	among := newFactTable().amongOthers()
	return slices.ContainsFunc(assignments, func(a *assignment) bool { return a.reads.facts&among != 0 })
}

// amongOthers are the facts for which tokens must be compared with each other,
// with the snapshots before or with the audit log.
func (t factTable) amongOthers() facts { return t.succession | t.near | t.past | t.log }
