package collectors

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"

	"patrol/engine"
)

// Outcome is what collecting one target came to. It holds a capture whatever
// happened, so that a workspace which could not be read is reported as such.
type Outcome struct {
	Target  Target
	Capture engine.Capture
	// Err says why nothing could be read, as *engine.Error: bad configuration
	// is of ClassUsage, everything else of ClassIncomplete. A section that
	// fails by itself is told by its coverage only.
	Err error

	close func() error
}

// Close frees what the rows of the capture are read from.
func (o Outcome) Close() error {
	if o.close == nil {
		return nil
	}
	return o.close()
}

// Collect reads all targets, several at once, and yields an outcome for each,
// in the order of targets. The receiver closes each outcome when it has taken
// what it needs. Ending the loop early stops what is still being read.
func Collect(ctx context.Context, targets []Target, o Options) iter.Seq[Outcome] {
	return func(yield func(Outcome) bool) {
		ctx, cancel := context.WithCancel(ctx)
		o := o.withDefaults()
		o.waiting = newBudget(o.RetryBudget, len(targets)+1)
		transport, problem := newTransport(o)
		outcomes := make([]chan Outcome, len(targets))
		for i := range outcomes {
			outcomes[i] = make(chan Outcome, 1)
		}
		// A slot is free when a target is done. Reading is not far ahead of the one who
		// takes outcomes: those that wait hold memory and disk.
		slots, ahead := make(chan struct{}, o.Parallel), make(chan struct{}, 2*o.Parallel)
		var workers sync.WaitGroup
		workers.Go(func() {
			var readers sync.WaitGroup
			for i, target := range targets {
				ahead <- struct{}{}
				slots <- struct{}{}
				readers.Go(func() {
					defer func() { <-slots }()
					if problem != nil {
						outcomes[i] <- outcomeOf(target, nil, o, problem)
						return
					}
					outcomes[i] <- collectOne(ctx, target, o, transport)
				})
			}
			readers.Wait()
			if transport != nil {
				transport.CloseIdleConnections()
			}
		})
		next := 0
		take := func() Outcome {
			outcome := <-outcomes[next]
			next++
			<-ahead
			return outcome
		}
		defer func() {
			cancel()
			for next < len(targets) {
				_ = take().Close() // nobody wants it, nor why it failed
			}
			workers.Wait()
		}()
		for next < len(targets) {
			if !yield(take()) {
				return
			}
		}
	}
}

// collectOne signs in to a workspace and reads its sections one by one.
func collectOne(ctx context.Context, t Target, o Options, transport http.RoundTripper) Outcome {
	if t.Usage != nil {
		o.Usage = t.Usage
	}
	o.report(Event{Kind: EventStarted, Workspace: t.Label()})
	if t.Unreadable != "" {
		o.report(Event{Kind: EventDone, Workspace: t.Label()})
		return outcomeOf(t, nil, o, t.unreadable())
	}
	client, problem := signIn(ctx, t, o, transport)
	outcome := outcomeOf(t, client, o, problem)
	if problem == nil {
		outcome.Err = client.read(ctx, outcome.Capture.Sections)
	}
	if client != nil {
		outcome.Capture.CollectedAt = client.now()
		outcome.Capture.Workspace.Name = client.name
	}
	o.report(Event{Kind: EventDone, Workspace: outcome.Capture.Workspace.Name})
	return outcome
}

// outcomeOf is the outcome before any section is read: all sections carry the
// problem, if there is one.
func outcomeOf(t Target, c *Client, o Options, p *Problem) Outcome {
	outcome := Outcome{Target: t, Capture: engine.Capture{
		Workspace:   engine.Workspace{ID: t.WorkspaceID, Name: t.Label(), Host: t.Host, Cloud: t.Cloud},
		CollectedAt: o.Now().UTC(),
		Sections:    map[engine.SectionName]engine.Section{},
	}}
	if c != nil {
		w := c.identity() // and what only the account told
		w.ID, w.Cloud = firstOf(w.ID, t.WorkspaceID), firstOf(w.Cloud, t.Cloud)
		outcome.Capture.Workspace = w
		outcome.close = c.session.Close
	}
	outcome.Capture.Workspace.Labels = t.Labels
	if p == nil {
		return outcome
	}
	for _, collector := range All() {
		section := failed(p)
		if coverage, unasked := o.unasked(collector); unasked {
			section.Coverage = coverage
		}
		outcome.Capture.Sections[collector.Section] = section
	}
	outcome.Err = p.error(outcome.Capture.Workspace.Name)
	return outcome
}

// error is the problem in the words of commands.
func (p *Problem) error(target string) error {
	class := engine.ClassIncomplete
	switch p.Reason {
	case reasonConfig, reasonInsecure, reasonNoCredentials:
		class = engine.ClassUsage
	}
	return &engine.Error{Class: class, Reason: p.Reason, Op: "collect", Target: target, Hint: p.Hint, Err: errors.New(p.Detail)}
}

// read fills in all sections: several at once where nothing follows from their
// order. One that fails hides no other, unless nothing more can be read at all.
func (c *Client) read(ctx context.Context, sections map[engine.SectionName]engine.Section) error {
	c.session.evidence = evidence{}
	for rest := All(); len(rest) > 0; {
		together := 1 + slices.IndexFunc(rest, func(collector Collector) bool { return collector.First })
		if together == 0 {
			together = len(rest)
		}
		stage := rest[:together]
		rest = rest[together:]
		read, clients := make([]engine.Section, len(stage)), make([]*Client, len(stage))
		var readers sync.WaitGroup
		for i, collector := range stage {
			clients[i] = c.forSection(collector.Section)
			readers.Go(func() { read[i] = clients[i].readSection(ctx, collector) })
		}
		readers.Wait()
		for i, client := range clients {
			// What stops them all is reported by the first of them, whichever met it first.
			if c.session.fatal == nil {
				c.session.fatal = client.trouble.fatal
			}
			if stage[i].Section == engine.SectionTokens {
				c.session.tokens = read[i]
			}
			sections[stage[i].Section] = read[i]
			coverage := read[i].Coverage
			client.event(Event{Kind: EventDone, Reason: coverage.Reason, Detail: coverage.Detail, Coverage: &coverage})
		}
	}
	c.session.judge(sections)
	if stopped := c.session.fatal; stopped != nil {
		return stopped.error(c.name)
	}
	return nil
}

// readSection reads through a client of the section's own.
func (c *Client) readSection(ctx context.Context, collector Collector) engine.Section {
	if coverage, unasked := c.o.unasked(collector); unasked {
		return engine.Section{Coverage: coverage}
	}
	if stopped := c.session.fatal; stopped != nil {
		return failed(stopped)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.SectionTimeout, errSectionTimeout)
	defer cancel()
	c.event(Event{Kind: EventStarted})
	section := collector.Read(ctx, c)
	explainScopes(c.session.scopes, collector, &section.Coverage)
	return section
}

// explainScopes names the scopes that are missing for a section, where
// the refusal speaks of scopes or the credential's own are known: more rights
// would not help.
func explainScopes(granted []string, collector Collector, c *engine.Coverage) {
	if c.Reason != reasonPermission && c.Reason != reasonMissingScope {
		return
	}
	missing := slices.Clone(collector.Scopes)
	if granted != nil {
		missing = slices.DeleteFunc(missing, func(scope string) bool { return engine.ScopesCover(granted, scope) })
	}
	if len(missing) == 0 || granted == nil && c.Reason == reasonPermission {
		return
	}
	c.Reason = reasonMissingScope
	c.Hint = fmt.Sprintf("Give the credential the scope %s: in `scopes` of the profile, and of its secret or token. Rights that it takes besides: %s.", strings.Join(missing, " and "), collector.Rights)
}

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
	// Listing everybody's tokens and their permissions belong to Premium.
	for _, name := range []engine.SectionName{engine.SectionTokens, engine.SectionGrants} {
		switch coverage := o.Capture.Sections[name].Coverage; {
		case r.Premium != "unknown":
		case coverage.Usable():
			r.Premium = "yes"
		case coverage.Status == engine.Disabled:
			r.Premium = "no or disabled"
		}
	}
}
