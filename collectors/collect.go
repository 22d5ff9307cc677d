package collectors

import (
	"cmp"
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
		o := o.withDefaults()
		o.waiting = newBudget(o.RetryBudget, len(targets)+1)
		transport, problem := newTransport(o)
		if problem != nil {
			cancel()
			for _, t := range targets {
				if !yield(outcomeOf(t, nil, o, problem)) {
					return
				}
			}
			return
		}
		outcomes := make([]chan Outcome, len(targets))
		for i := range outcomes {
			outcomes[i] = make(chan Outcome, 1)
		}
		// A slot is free when a target is done. Reading is not far ahead of the one who
		// takes outcomes: those that wait hold memory and disk.
		slots, ahead := make(chan struct{}, o.Parallel), make(chan struct{}, 2*o.Parallel)
		go func() {
			for i, target := range targets {
				ahead <- struct{}{}
				slots <- struct{}{}
				go func() {
					defer func() { <-slots }()
					o.report(Event{Kind: EventStarted, Workspace: target.Label()})
					outcome, _, _ := collectOne(ctx, target, o, transport)
					o.report(Event{Kind: EventDone, Workspace: outcome.Capture.Workspace.Name})
					outcomes[i] <- outcome
				}()
			}
		}()
		taken := 0
		take := func() Outcome {
			outcome := <-outcomes[taken]
			taken++
			<-ahead
			return outcome
		}
		defer func() {
			cancel()
			for taken < len(targets) {
				_ = take().Close() // nobody wants it, nor why it failed
			}
			transport.CloseIdleConnections()
		}()
		for taken < len(targets) {
			if !yield(take()) {
				return
			}
		}
	}
}

// collectOne signs in to a workspace and reads its sections. The client is nil where
// not even a host is known; problem says why nothing could be asked.
func collectOne(ctx context.Context, t Target, o Options, transport http.RoundTripper) (outcome Outcome, client *Client, problem *Problem) {
	o.Usage = cmp.Or(t.Usage, o.Usage)
	if t.Unreadable != "" {
		problem = problemOf(reasonNotRunning, "Leave it out by `account.exclude` if that is as it should be; docs/account.md tells how.",
			"%s", engine.SafeText(t.Unreadable))
	} else {
		client, problem = signIn(ctx, t, o, transport)
	}
	outcome = outcomeOf(t, client, o, problem)
	if problem == nil {
		outcome.Err = client.read(ctx, outcome.Capture.Sections)
	}
	if client != nil {
		outcome.Capture.CollectedAt = client.now()
	}
	return outcome, client, problem
}

// outcomeOf is the outcome before any section is read: all sections carry the
// problem, if there is one.
func outcomeOf(t Target, c *Client, o Options, p *Problem) Outcome {
	w := engine.Workspace{ID: t.WorkspaceID, Name: t.Label(), Host: t.Host, Cloud: t.Cloud}
	outcome := Outcome{Target: t}
	if c != nil {
		w = c.identity() // and what only the account told
		w.ID, w.Cloud = cmp.Or(w.ID, t.WorkspaceID), cmp.Or(w.Cloud, t.Cloud)
		outcome.close = c.session.Close
	}
	w.Labels = t.Labels
	outcome.Capture = engine.Capture{Workspace: w, CollectedAt: o.Now().UTC(), Sections: map[engine.SectionName]engine.Section{}}
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
	outcome.Err = p.error("collect", w.Name)
	return outcome
}

// read fills in all sections: several at once where nothing follows from their
// order. One that fails hides no other, unless nothing more can be read at all.
func (c *Client) read(ctx context.Context, sections map[engine.SectionName]engine.Section) error {
	c.session.evidence = evidence{}
	all := All()
	for i, begin := 0, 0; i < len(all); i++ {
		if !all[i].First && i+1 < len(all) {
			continue
		}
		stage := all[begin : i+1]
		begin = i + 1
		read, clients := make([]engine.Section, len(stage)), make([]*Client, len(stage))
		var readers sync.WaitGroup
		for i, collector := range stage {
			clients[i] = c.forSection(collector.Section)
			readers.Go(func() { read[i] = clients[i].readSection(ctx, collector) })
		}
		readers.Wait()
		for i, client := range clients {
			// What stops them all is reported by the first of them, whichever met it first.
			c.session.fatal = cmp.Or(c.session.fatal, client.trouble.fatal)
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
		return stopped.error("collect", c.name)
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
	if export := c.o.Exports[collector.Section]; export != nil {
		return export.section(c.identity(), c.session.tokens, c.now())
	}
	section := collector.Read(ctx, c)
	// Where the refusal speaks of scopes, or the credential's own are known, those that
	// are missing are named: more rights would not help.
	refused, granted := &section.Coverage, c.session.scopes
	if refused.Reason != reasonMissingScope && (refused.Reason != reasonPermission || granted == nil) {
		return section
	}
	missing := slices.DeleteFunc(slices.Clone(collector.Scopes), func(scope string) bool { return granted != nil && engine.ScopesCover(granted, scope) })
	if len(missing) > 0 {
		refused.Reason = reasonMissingScope
		refused.Hint = fmt.Sprintf("Give the credential the scope %s: in `scopes` of the profile, and of its secret or token. Rights that it takes besides: %s.",
			strings.Join(missing, " and "), collector.Rights)
	}
	return section
}

// ProbeReport tells what can be read of a workspace, and what to do about the rest.
type ProbeReport struct {
	Target    Target
	Workspace engine.Workspace
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
	Collector
	Coverage engine.Coverage
}

// Probe tries everything that Collect would do and keeps nothing.
func Probe(ctx context.Context, t Target, o Options) (ProbeReport, error) {
	o = o.withDefaults()
	report := ProbeReport{Target: t, Premium: "unknown"}
	transport, problem := newTransport(o)
	if problem != nil {
		return report, problem.error("collect", t.Label())
	}
	defer transport.CloseIdleConnections()
	outcome, client, problem := collectOne(ctx, t, o, transport)
	report.Workspace = outcome.Capture.Workspace
	if problem != nil {
		report.Problem = problem.Coverage
	}
	if client != nil {
		me := client.session.me
		report.AuthType = client.session.authType
		report.SignedIn = me.ID != "" || me.Name != ""
		report.Caller, report.Admin = me.Name, me.Admin
	}
	for _, collector := range All() {
		report.Sections = append(report.Sections, SectionProbe{collector, outcome.Capture.Sections[collector.Section].Coverage})
	}
	// Listing everybody's tokens and their permissions belong to Premium.
	for _, name := range []engine.SectionName{engine.SectionTokens, engine.SectionGrants} {
		switch coverage := outcome.Capture.Sections[name].Coverage; {
		case report.Premium != "unknown":
		case coverage.Usable():
			report.Premium = "yes"
		case coverage.Status == engine.Disabled:
			report.Premium = "no or disabled"
		}
	}
	return report, outcome.Close()
}
