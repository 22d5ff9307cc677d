package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/apply"
	"patrol/engine/journal"
	"patrol/engine/outfile"
	"patrol/engine/remedy"
	"patrol/reports"
)

// confirm asks before anything is sent, and once more after the first steps.
// Where nobody can answer, nothing is sent.
func (a *app) confirm(ctx context.Context, q apply.Question, yes bool) error {
	if q.Canary {
		return a.confirmCanary(ctx, q, yes)
	}
	line := fmt.Sprintf("%s (%s): %s, of %s", engine.SafeText(q.Workspace.Name), q.Workspace.ID, plural(q.Steps, "step"), plural(q.Owners, "owner"))
	if q.Recent > 0 {
		line += fmt.Sprintf(", %d on tokens USED within %d days of the plan", q.Recent, q.Recently)
	}
	for _, danger := range q.Dangers {
		a.say("%s", strings.ToUpper(danger[:1])+danger[1:])
	}
	a.say("%s", line)
	if yes {
		return nil
	}
	if !a.env.interactive() {
		return &engine.Error{Class: engine.ClassRefused, Reason: "unconfirmed", Op: "apply", Target: q.Workspace.Name,
			Hint: "Run it on a terminal, or answer with --yes; --dry-run shows what would be done.", Err: errors.New("nobody is there to confirm; nothing was sent")}
	}
	want := fmt.Sprintf("%s %d", q.Workspace.Name, q.Steps)
	answer, err := a.ask(ctx, fmt.Sprintf("This cannot be undone for tokens. Type %q to go on: ", engine.SafeText(want)))
	if err == nil && answer != want {
		err = &engine.Error{Class: engine.ClassRefused, Reason: "declined", Op: "apply", Target: q.Workspace.Name, Hint: "Nothing was sent.", Err: errors.New("not confirmed")}
	}
	return err
}

func (a *app) confirmCanary(ctx context.Context, q apply.Question, yes bool) error {
	if yes || !a.env.interactive() {
		return nil
	}
	answer, err := a.ask(ctx, fmt.Sprintf("%s done, %d left in %s. Does everything still work? Type yes to go on: ", plural(q.Done, "step"), q.Steps, engine.SafeText(q.Workspace.Name)))
	if err == nil && !strings.EqualFold(answer, "yes") {
		err = errors.New("declined")
	}
	return err
}

// ask reads a line from the terminal, or gives up when ctx ends.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	fmt.Fprint(a.env.stderr, question)
	type line struct {
		text string
		err  error
	}
	lines := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(a.env.stdin).ReadString('\n')
		lines <- line{strings.TrimSpace(text), err}
	}()
	select {
	case got := <-lines:
		if errors.Is(got.err, io.EOF) {
			got.err = nil // the end of input is an answer: not yes
		}
		return got.text, got.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// tellApply says what a run is doing, in one line per step.
func (a *app) tellApply(e apply.Event) {
	switch e.Kind {
	case apply.EventGates:
		a.detail("%s: every check passed, %s open", e.Workspace, plural(e.Of, "step"))
	case apply.EventStep:
		if !remedy.Changes(e.Step) {
			return // the outcome counts them
		}
		text := fmt.Sprintf("[%d/%d] %s %s %s", e.N, e.Of, e.Workspace, e.Step.Action, targetOf(e.Step))
		if e.Step.Owner != "" {
			text += " of " + e.Step.Owner
		}
		text += ": " + strings.ReplaceAll(string(e.State), "_", " ")
		if e.Reason != "" {
			text += " (" + e.Reason + ")"
		}
		a.say("%s", text)
		if e.Detail != "" {
			a.detail("  %s", e.Detail)
		}
	case apply.EventWaiting:
		a.detail("%s: waiting %s for %s", e.Workspace, e.Detail, targetOf(e.Step))
	case apply.EventWarning:
		a.say("warning: %s: %s", e.Workspace, e.Detail)
	}
}

func targetOf(s engine.Step) string {
	if len(s.Target) == 64 { // of a token: enough to tell it apart
		return s.Target[:12] + "…"
	}
	return engine.SafeText(s.Target)
}

// deliverOutcome writes what became of the plan beside it, and shows it.
func (a *app) deliverOutcome(ctx context.Context, path string, report engine.OutcomeReport, rehearsed bool) error {
	var files []string
	if !rehearsed {
		files = []string{outcomePath(path, ".json"), outcomePath(path, ".csv"), outcomePath(path, ".xlsx")}
		err := outfile.Write(files[0], func(w io.Writer) error { return writeOutcome(w, report) })
		err = errors.Join(err, outfile.Write(files[1], func(w io.Writer) error { return reports.OutcomeCSV(w, report) }))
		err = errors.Join(err, outfile.Write(files[2], func(w io.Writer) error { return reports.OutcomeXLSX(ctx, w, report) }))
		if err != nil {
			return err
		}
	}
	if a.quiet {
		return nil
	}
	view := reports.OutcomeView{Report: engine.Pseudonymised(a.Names, report), Rehearsed: rehearsed, Files: files}
	return reports.OutcomeTable(a.env.stdout, view, a.tableOptions())
}

func writeOutcome(w io.Writer, report engine.OutcomeReport) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

// warnOfRegress tells when the journal is older than the outcome beside the
// plan says: it was restored from a copy, or is another one. Every step is
// looked at again before anything is sent, so that it may go on.
func (a *app) warnOfRegress(ctx context.Context, path string, p engine.Plan, journal *journal.Journal) {
	content, err := os.ReadFile(outcomePath(path, ".json"))
	var before engine.OutcomeReport
	if err != nil || json.Unmarshal(content, &before) != nil || before.PlanID != p.ID {
		return
	}
	for _, w := range before.Workspaces {
		epoch, err := journal.LastEpoch(ctx, w.ID)
		if err == nil && epoch < w.Epoch {
			a.say("warning: journal_regressed: %s knows %s of %s, the outcome beside the plan knows %s: it is another journal, or an old copy",
				journal.Path(), plural(int(epoch), "run"), w.Name, strconv.FormatInt(w.Epoch, 10))
		}
	}
}

// sleep waits, or gives up when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
