package collectors

import (
	"context"
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
		run := newRun(ctx, targets, o)
		defer run.abandon(cancel)
		for run.next < len(targets) {
			if !yield(run.take()) {
				return
			}
		}
	}
}

// run reads targets ahead of the one who takes outcomes, but not far ahead:
// outcomes that wait hold memory and disk.
type run struct {
	o        Options
	outcomes []chan Outcome
	next     int
	ahead    chan struct{}
	workers  sync.WaitGroup
}

func newRun(ctx context.Context, targets []Target, o Options) *run {
	o = o.withDefaults()
	o.waiting = newBudget(o.RetryBudget, len(targets)+1)
	r := &run{o: o, ahead: make(chan struct{}, 2*o.Parallel)}
	for range targets {
		r.outcomes = append(r.outcomes, make(chan Outcome, 1))
	}
	transport, problem := newTransport(o)
	r.workers.Go(func() { r.start(ctx, targets, transport, problem) })
	return r
}

// start begins targets in order; a slot is free when a target is done, and
// another when its outcome was taken.
func (r *run) start(ctx context.Context, targets []Target, transport *http.Transport, problem *Problem) {
	slots := make(chan struct{}, r.o.Parallel)
	var readers sync.WaitGroup
	for i, target := range targets {
		r.ahead <- struct{}{}
		slots <- struct{}{}
		readers.Go(func() {
			defer func() { <-slots }()
			if problem != nil {
				r.outcomes[i] <- outcomeOf(target, nil, r.o, problem)
				return
			}
			r.outcomes[i] <- collectOne(ctx, target, r.o, transport)
		})
	}
	readers.Wait()
	if transport != nil {
		transport.CloseIdleConnections()
	}
}

func (r *run) take() Outcome {
	outcome := <-r.outcomes[r.next]
	r.next++
	<-r.ahead
	return outcome
}

// abandon stops readers and frees what nobody took.
func (r *run) abandon(cancel context.CancelFunc) {
	cancel()
	for r.next < len(r.outcomes) {
		_ = r.take().Close() // nobody wants it, nor why it failed
	}
	r.workers.Wait()
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
		outcome.Capture.Workspace = t.complete(c.identity())
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
	return &engine.Error{Class: class, Reason: p.Reason, Op: "collect", Target: target, Hint: p.Hint, Err: p.withoutReason()}
}

func (p *Problem) withoutReason() error { return detailError(p.Detail) }

type detailError string

func (e detailError) Error() string { return string(e) }

// read fills in all sections: several at once where nothing follows from their
// order. One that fails hides no other, unless nothing more can be read at all.
func (c *Client) read(ctx context.Context, sections map[engine.SectionName]engine.Section) error {
	c.session.evidence = evidence{}
	for _, stage := range stages(All()) {
		for i, section := range c.readStage(ctx, stage) {
			sections[stage[i].Section] = section
		}
	}
	c.session.judge(sections)
	if stopped := c.session.fatal; stopped != nil {
		return stopped.error(c.name)
	}
	return nil
}

// readStage reads sections at once. What stops them all is told by the first
// of them in their order, whichever met it first.
func (c *Client) readStage(ctx context.Context, stage []Collector) []engine.Section {
	read, clients := make([]engine.Section, len(stage)), make([]*Client, len(stage))
	var readers sync.WaitGroup
	for i, collector := range stage {
		clients[i] = c.forSection(collector.Section)
		readers.Go(func() { read[i] = clients[i].readSection(ctx, collector) })
	}
	readers.Wait()
	for i, client := range clients {
		if c.session.fatal == nil {
			c.session.fatal = client.trouble.fatal
		}
		if stage[i].Section == engine.SectionTokens {
			c.session.tokens = read[i]
		}
		coverage := read[i].Coverage
		client.event(Event{Kind: EventDone, Reason: coverage.Reason, Detail: coverage.Detail, Coverage: &coverage})
	}
	return read
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
	c.session.explainScopes(collector, &section.Coverage)
	return section
}

// explainScopes names the scopes that the credential lacks for a section, where
// the refusal speaks of scopes or the credential's own are known: more rights
// would not help.
func (s *session) explainScopes(collector Collector, c *engine.Coverage) {
	if c.Reason != reasonPermission && c.Reason != reasonMissingScope {
		return
	}
	lacking := collector.Scopes
	if s.scopes != nil {
		lacking = slices.DeleteFunc(slices.Clone(lacking), func(scope string) bool { return engine.ScopesCover(s.scopes, scope) })
	}
	if len(lacking) == 0 || s.scopes == nil && c.Reason == reasonPermission {
		return
	}
	c.Reason = reasonMissingScope
	c.Hint = fmt.Sprintf("Give the credential the scope %s: in `scopes` of the profile, and of its secret or token. Rights that it takes besides: %s.", strings.Join(lacking, " and "), collector.Rights)
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
