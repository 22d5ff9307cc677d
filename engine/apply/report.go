package apply

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

// report is what the journal says now.
func (r *run) report(ctx context.Context) (engine.OutcomeReport, error) {
	if r.job.Journal == nil {
		return Report(r.job.Plan, r.job.SHA, nil, func(func(engine.JournalEvent, error) bool) {})
	}
	entries, err := r.job.Journal.Entries(ctx, r.job.SHA)
	if err != nil {
		return engine.OutcomeReport{}, err
	}
	return Report(r.job.Plan, r.job.SHA, entries, r.job.Journal.Events(ctx, r.job.SHA))
}

// Report says what became of a plan. It is a function of the plan and of the
// journal's entries and events of that plan alone, so that making it again
// gives the same bytes.
func Report(p engine.Plan, sha string, entries []engine.Entry, events iter.Seq2[engine.JournalEvent, error]) (engine.OutcomeReport, error) {
	report := engine.OutcomeReport{
		Schema: engine.OutcomeSchema, PlanID: p.ID, PlanSHA: sha, Finished: len(entries) > 0, Carried: len(entries) > 0,
		Counts: map[engine.StepState]int{}, Workspaces: []engine.OutcomeWorkspace{}, Outcomes: []engine.Outcome{},
	}
	known := map[string]engine.Entry{}
	for _, entry := range entries {
		known[entry.Step] = entry
		report.Finished = report.Finished && entry.State.Terminal()
		report.Carried = report.Carried && entry.State.CarriedOut()
	}
	for _, step := range p.Steps {
		outcome := engine.Outcome{Step: step, State: engine.StateSkippedApproval, Reason: "not_approved"}
		if entry, ok := known[step.ID]; ok {
			at := time.UnixMilli(entry.At).UTC()
			outcome = engine.Outcome{
				Step: step, State: entry.State, Reason: entry.Reason, Detail: entry.Detail,
				Attempt: entry.Attempt, HTTP: entry.HTTP, Request: entry.Request, At: at.Format(time.RFC3339),
			}
			if entry.State == engine.StateIntent && entry.Reason == "" {
				outcome.Reason = "in_flight"
				outcome.Detail = fmt.Sprintf("a request may have been sent, and may take effect until %s", at.Add(engine.RequestLimit).Format(time.RFC3339))
			}
		}
		report.Counts[outcome.State]++
		report.Outcomes = append(report.Outcomes, outcome)
	}
	workspaces := map[string]*engine.OutcomeWorkspace{}
	for _, w := range p.Workspaces {
		workspaces[w.ID] = &engine.OutcomeWorkspace{ID: w.ID, Name: w.Name, Host: w.Host, StillListed: []string{}, ThirdParty: []string{}}
	}
	for event, err := range events {
		w := workspaces[event.Workspace]
		switch {
		case err != nil:
			return report, err
		case event.Step != "" || w == nil:
			continue
		}
		switch engine.NoteKind(event.To) {
		case "begun":
			w.Epoch, report.Stopped = event.Epoch, ""
		case engine.NoteStopped:
			var detail struct {
				Why string `json:"why"`
			}
			err = json.Unmarshal(event.Detail, &detail)
			report.Stopped = detail.Why
		case engine.NoteReconciled:
			var detail engine.Reconciliation
			err = json.Unmarshal(event.Detail, &detail)
			w.StillListed = detail.StillListed
			w.ThirdParty = append(w.ThirdParty, detail.ThirdParty...)
		}
		if err != nil {
			return report, fmt.Errorf("read event %d: %w", event.Seq, err)
		}
	}
	for _, w := range p.Workspaces {
		one := workspaces[w.ID]
		slices.Sort(one.ThirdParty)
		one.ThirdParty = slices.Compact(one.ThirdParty)
		report.Carried = report.Carried && len(one.StillListed) == 0
		report.Workspaces = append(report.Workspaces, *one)
	}
	return report, nil
}

// ids is a set of token ids, small enough for a million of them: 64
// hexadecimal digits take 32 bytes.
type ids map[[32]byte]struct{}

// key packs an id; one that is not of the usual shape is hashed into it.
func key(id string) (k [32]byte) {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != len(k) {
		raw, _ = hex.DecodeString(engine.TextDigest(id)) // a digest always decodes
	}
	copy(k[:], raw)
	return k
}

func (s ids) has(id string) bool { _, ok := s[key(id)]; return ok }

func (r *run) list(ctx context.Context, workspace string) (ids, error) {
	tokens, err := r.job.Workspaces[workspace].Tokens(ctx)
	if err != nil {
		return nil, err
	}
	found := ids{}
	for token, err := range tokens {
		if err != nil {
			return nil, err
		}
		found[key(token.ID)] = struct{}{}
	}
	r.latest[workspace] = found
	return found, nil
}

// conclude ends a run that wrote: it writes down why it stopped, if it did, and
// holds the list of tokens against what the journal says. A list that cannot
// be read is told, and changes nothing about what was done.
func (r *run) conclude(ctx context.Context, why error) error {
	if known, ok := engine.AsError(why); ok && known.Class == engine.ClassStorage {
		return nil // the journal takes nothing any more
	}
	for _, w := range r.job.Plan.Workspaces {
		if !slices.ContainsFunc(r.steps(), func(s engine.Step) bool { return s.WorkspaceID == w.ID }) {
			continue // this run does not hold the right to write about it
		}
		if why != nil {
			err := r.job.Journal.Note(ctx, engine.Note{
				Plan: r.job.SHA, Workspace: w.ID, Kind: engine.NoteStopped, At: r.job.Clock.Now().UnixMilli(),
				Detail: engine.CompactJSON(map[string]string{"why": why.Error()}),
			})
			if err != nil {
				return err
			}
		}
		if err := r.reconcile(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// reconcile compares the list as it is now with the journal and with the list
// at the beginning.
func (r *run) reconcile(ctx context.Context, w engine.PlanWorkspace) error {
	before, counted := r.before[w.ID]
	if !counted {
		return nil
	}
	now, err := r.list(ctx, w.ID)
	if err != nil {
		r.job.Tell(Event{Kind: EventWarning, Workspace: w.Name, Reason: "unreadable", Detail: "the list of tokens at the end could not be read: " + err.Error()})
		return nil
	}
	found := engine.Reconciliation{StillListed: []string{}, ThirdParty: vanished(before, now), Listed: len(now)}
	for _, step := range r.steps() {
		if step.WorkspaceID != w.ID || !remedy.Of(step.Action).Removes {
			continue
		}
		k := key(step.Target)
		found.ThirdParty = slices.DeleteFunc(found.ThirdParty, func(id string) bool { return id == hex.EncodeToString(k[:]) })
		if state := r.entries[step.ID].State; state.Terminal() && state.CarriedOut() && now.has(step.Target) {
			found.StillListed = append(found.StillListed, step.Target)
		}
	}
	return r.job.Journal.Note(ctx, engine.Note{
		Plan: r.job.SHA, Workspace: w.ID, Kind: engine.NoteReconciled, At: r.job.Workspaces[w.ID].Now().UnixMilli(), Detail: engine.CompactJSON(found),
	})
}

// vanished are the ids that were there and are not, sorted.
func vanished(before, now ids) []string {
	gone := []string{}
	for k := range before {
		if _, there := now[k]; !there {
			gone = append(gone, hex.EncodeToString(k[:]))
		}
	}
	slices.Sort(gone)
	return gone
}

// verdict is the error that a finished run ends with.
func verdict(report engine.OutcomeReport) error {
	if report.Carried {
		return nil
	}
	hint := "See the outcome for each step's reason; plan again for what is still wanted."
	if !report.Finished {
		hint = "Run `patrol apply --resume`: it settles what is open."
	}
	return &engine.Error{Class: engine.ClassPartial, Reason: "not_carried_out", Op: "apply", Target: report.PlanID, Hint: hint,
		Err: errors.New("not every approved step was carried out")}
}
