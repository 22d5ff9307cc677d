package collectors

import (
	"context"

	"patrol/engine"
)

// ProbeReport tells what can be read of a workspace, and what to do about the rest.
type ProbeReport struct {
	Target    Target
	Workspace engine.Workspace
	Reachable bool // the host answered
	SignedIn  bool
	AuthType  string // as the Databricks tools name it
	Caller    string // name of user or service principal
	Admin     bool
	Premium   string          // "yes", "no or disabled", "unknown": by what the plan's features answer
	Problem   engine.Coverage // why nothing can be read; Status "" when something can
	Sections  []SectionProbe  // in the order in which they are read
}

// SectionProbe is what became of one section.
type SectionProbe struct {
	Section  engine.SectionName
	Doc      string
	Rights   string
	Coverage engine.Coverage
}

// Probe tries everything that Collect would do and keeps nothing.
func Probe(ctx context.Context, t Target, o Options) (ProbeReport, error) {
	o = o.withDefaults()
	report := ProbeReport{Target: t, Premium: "unknown"}
	if t.Unreadable != "" {
		problem := t.unreadable()
		report.Problem = problem.Coverage()
		report.fill(nil, outcomeOf(t, nil, o, problem))
		return report, nil
	}
	transport, problem := newTransport(o)
	if problem != nil {
		return report, problem.error(t.Label())
	}
	defer transport.CloseIdleConnections()
	client, problem := signIn(ctx, t, o, transport)
	outcome := outcomeOf(t, client, o, problem)
	if problem == nil {
		outcome.Err = client.read(ctx, outcome.Capture.Sections)
	} else {
		report.Problem = problem.Coverage()
	}
	report.fill(client, outcome)
	return report, outcome.Close()
}

func (r *ProbeReport) fill(c *Client, o Outcome) {
	r.Workspace = o.Capture.Workspace
	if c != nil {
		me := c.session.me
		r.Reachable, r.AuthType = c.session.wasReached(), c.session.authType
		r.SignedIn = me.ID != "" || me.Name != ""
		r.Caller, r.Admin = me.Name, me.Admin
	}
	for _, collector := range All() {
		coverage := o.Capture.Sections[collector.Section].Coverage
		r.Sections = append(r.Sections, SectionProbe{collector.Section, collector.Doc, collector.Rights, coverage})
	}
	r.Premium = premium(o.Capture.Sections[engine.SectionTokens].Coverage, o.Capture.Sections[engine.SectionGrants].Coverage)
}

// premium infers the plan: listing everybody's tokens and their permissions
// belong to Premium.
func premium(coverages ...engine.Coverage) string {
	for _, coverage := range coverages {
		switch {
		case coverage.Usable():
			return "yes"
		case coverage.Status == engine.Disabled:
			return "no or disabled"
		}
	}
	return "unknown"
}
