package apply

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"

	"patrol/engine"
	"patrol/engine/remedy"
)

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
		if !r.began(w.ID) {
			continue
		}
		if err := r.noteStop(ctx, w.ID, why); err != nil {
			return err
		}
		if err := r.reconcile(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// began reports whether this run holds the right to write about a workspace.
func (r *run) began(workspace string) bool {
	return slices.ContainsFunc(r.steps(), func(s engine.Step) bool { return s.WorkspaceID == workspace })
}

func (r *run) noteStop(ctx context.Context, workspace string, why error) error {
	if why == nil {
		return nil
	}
	return r.job.Journal.Note(ctx, engine.Note{
		Plan: r.job.SHA, Workspace: workspace, Kind: engine.NoteStopped, At: r.job.Clock.Now().UnixMilli(),
		Detail: engine.CompactJSON(map[string]string{"why": why.Error()}),
	})
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
