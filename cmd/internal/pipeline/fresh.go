package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/apply"
	"patrol/engine/eval"
	"patrol/engine/outfile"
	"patrol/engine/policy"
	"patrol/engine/remedy"
	"patrol/engine/store"
)

// FreshJudge runs the policies of a step again, on what the workspace is like
// now. The list of tokens, of which a policy may compare one with the others,
// is read once a run and goes through a database of its own, so that it is
// derived as in an audit. All else that the policies of a step read is read
// for that step: its owner and creator singly, settings and grants whole.
type FreshJudge struct {
	Sessions map[string]*collectors.Session // of the workspaces of the plan that were signed in to, by id

	run        *Run
	set        *Policies
	policies   *eval.Set // all of the set, kept until Close
	leave      func()
	plan       engine.Plan
	protected  engine.Protected // by the plan, and by the configuration now
	parsers    remedy.Parsers
	workspaces map[string]*judgedWorkspace
	beside     string // directory beside the journal; "" in a rehearsal
	dir        string
	release    func() error // removes dir
	db         *store.DB
}

// judgedWorkspace is a workspace as it is now.
type judgedWorkspace struct {
	snapshot engine.Snapshot
	subjects map[string]engine.Subject // of the plan's tokens, by id
	tuning   map[string]policy.Tuning
	read     map[engine.SectionName]reading
}

// reading is a section, and when it was read.
type reading struct {
	engine.Section
	at time.Time
}

// sectionAge is how old a section may be that another step read: apply itself
// sends nothing on what is older than ten seconds.
const sectionAge = 5 * time.Second

// JudgeAfresh makes what judges the steps of a plan again, until Close.
func (r *Run) JudgeAfresh(set *Policies, p engine.Plan, parsers remedy.Parsers) *FreshJudge {
	j := &FreshJudge{
		Sessions: map[string]*collectors.Session{}, run: r, set: set, plan: p, protected: p.Protected.With(r.Config.Remediation.Protected),
		parsers: parsers, workspaces: map[string]*judgedWorkspace{},
	}
	j.policies, j.leave = set.All.Keep()
	return j
}

// StillFires implements apply.Judge. Every policy that the step rests on must
// still find fault: an approval was given for all of the reasons.
func (j *FreshJudge) StillFires(ctx context.Context, s engine.Step, t engine.Token, now time.Time) (apply.Ruling, error) {
	ruling := apply.Ruling{Subject: engine.Subject{Token: t}, At: j.run.Now()}
	w, err := j.workspace(ctx, s.WorkspaceID, now)
	if err != nil {
		return ruling, err
	}
	subject, known := w.subjects[t.ID]
	if !known {
		ruling.Why = "the list of tokens did not hold it"
		return ruling, nil
	}
	subject.Token = t
	subject.Derive(now.UnixMilli())
	needed := map[engine.SectionName]bool{}
	for _, id := range s.Policies {
		if p, known := j.set.Policy(id); known {
			for _, need := range p.Needs {
				section, _, _ := strings.Cut(need, ".")
				needed[engine.SectionName(section)] = true
			}
		}
	}
	if needed[engine.SectionPrincipals] || j.protected.ByApplication() {
		if err := j.askFor(ctx, w, s, &subject, &ruling.At); err != nil {
			return ruling, err
		}
	}
	ruling.Subject = subject
	snapshot := w.snapshot
	snapshot.Coverage, snapshot.Documents = maps.Clone(snapshot.Coverage), maps.Clone(snapshot.Documents)
	for _, name := range engine.SortedKeys(needed) {
		if name == engine.SectionTokens || name == engine.SectionPrincipals || w.snapshot.Documents[name] == nil {
			continue // tokens and principals are asked for singly; what a workspace does not tell stays as it is
		}
		section := j.section(ctx, w, s.WorkspaceID, name, &ruling.At)
		snapshot.Coverage[name], snapshot.Documents[name] = section.Coverage, section.Document
	}
	job := eval.Job{Snapshot: snapshot, AsOf: now, Tuning: w.tuning, Tokens: func(bool) iter.Seq2[engine.Subject, error] {
		return func(yield func(engine.Subject, error) bool) { yield(subject, nil) }
	}}
	active := Exceptions{Waivers: j.set.Exceptions.Waivers}.Start(now) // a baseline says nothing about what may be revoked
	defer active.Close()
	if job.Except, err = active.Exempt(ctx, j.set, now, w.tuning); err != nil {
		return ruling, err
	}
	verdicts := map[string]engine.Finding{} // by policy
	chosen := j.policies.Select(func(p engine.Policy) bool { return slices.Contains(s.Policies, p.ID) })
	if _, err = chosen.Evaluate(ctx, job, func(f engine.Finding) error {
		verdicts[f.Policy] = f.Redacted() // what it says goes into the journal
		return nil
	}); err != nil {
		return ruling, err
	}
	for _, id := range s.Policies {
		switch f, found := verdicts[id]; {
		case !found:
			ruling.Why = id + " finds no fault any more"
			return ruling, nil
		case f.Status != engine.Fail:
			ruling.Why = fmt.Sprintf("%s is %s now: %s", id, f.Status, f.Message)
			return ruling, nil
		}
	}
	ruling.Fires = true
	return ruling, nil
}

// askFor puts owner and creator in place as the directory tells them when it is
// asked for each by its id. What they are in, which only the list tells, is
// read again where a policy of the step looks at it.
func (j *FreshJudge) askFor(ctx context.Context, w *judgedWorkspace, s engine.Step, subject *engine.Subject, oldest *time.Time) error {
	asked := map[string]engine.Principal{}
	for _, party := range []*engine.Party{&subject.Owner, &subject.Creator} {
		if party.ID == "" {
			continue
		}
		now, known := asked[party.ID]
		if !known {
			var err error
			if now, err = j.parsers.ReadPrincipal(ctx, j.Sessions[s.WorkspaceID], s, party.ID, party.Kind); err != nil {
				return err
			}
			asked[party.ID] = now
		}
		if now.Kind == engine.Missing && party.Kind != engine.Missing && party.Kind != "" {
			delete(j.workspaces, s.WorkspaceID) // to be read again
			return &engine.Fault{Kind: engine.FaultUnclear, Detail: fmt.Sprintf("the directory lists principal %s, and does not know it when asked for it", engine.SafeText(party.ID))}
		}
		fresh := engine.Party{ID: party.ID, Kind: now.Kind, Name: now.Name, DisplayName: now.DisplayName, Active: now.Active, LiveTokens: party.LiveTokens, Account: party.Account, Listed: party.Listed}
		switch {
		case now.Kind == engine.Missing:
			fresh.Active, fresh.Admin = new(false), new(false)
		case party.Kind != engine.Missing:
			fresh.Groups, fresh.Admin = party.Groups, party.Admin
		}
		*party = fresh
	}
	looksAtGroups := false // a policy of the step
	for _, evidence := range s.Evidence {
		fields, _ := evidence.(map[string]any)
		for field := range fields {
			looksAtGroups = looksAtGroups || strings.HasSuffix(field, ".admin") || strings.HasSuffix(field, ".groups")
		}
	}
	if !looksAtGroups {
		return nil
	}
	section := j.section(ctx, w, s.WorkspaceID, engine.SectionPrincipals, oldest)
	for _, party := range []*engine.Party{&subject.Owner, &subject.Creator} {
		party.Groups, party.Admin = nil, nil
		i := slices.IndexFunc(section.Principals, func(p engine.Principal) bool { return p.ID == party.ID })
		if i >= 0 && section.Coverage.Usable() {
			party.Groups, party.Admin = section.Principals[i].Groups, section.Principals[i].Admin
		}
	}
	return nil
}

// section is a section as it is now; oldest is brought back to when it was read.
func (j *FreshJudge) section(ctx context.Context, w *judgedWorkspace, workspace string, name engine.SectionName, oldest *time.Time) engine.Section {
	now := j.run.Now()
	read, known := w.read[name]
	if !known || now.Sub(read.at) > sectionAge || now.Sub(read.at) < 0 {
		read = reading{at: now, Section: j.Sessions[workspace].Section(ctx, name)}
		w.read[name] = read
	}
	if read.at.Before(*oldest) {
		*oldest = read.at
	}
	return read.Section
}

// Stake implements apply.Judge. It reads the whole workspace anew.
func (j *FreshJudge) Stake(ctx context.Context, s engine.Step, now time.Time) (stake apply.Stake, err error) {
	delete(j.workspaces, s.WorkspaceID) // what is read now is newer
	snapshot, err := j.capture(ctx, s.WorkspaceID)
	if err != nil {
		return stake, err
	}
	for _, section := range []engine.SectionName{engine.SectionTokens, engine.SectionPrincipals} {
		if coverage := snapshot.Coverage[section]; !coverage.Whole() {
			return stake, &engine.Fault{Kind: engine.FaultUnclear, Detail: fmt.Sprintf("what it would disable cannot be counted: %s were not read whole (%s)", section, coverage.Status)}
		}
	}
	endangers := remedy.Endangered(s)
	for subject, err := range j.db.Subjects(ctx, snapshot.ID, now, true) {
		if err != nil {
			return stake, err
		}
		if !endangers(subject) {
			continue
		}
		stake.Tokens++
		if stake.Protected == "" {
			stake.Protected = j.protected.Protects(subject)
		}
	}
	return stake, nil
}

// capture reads a workspace into the database of this run. A rehearsal, which
// holds no lock, has a directory of its own for it.
func (j *FreshJudge) capture(ctx context.Context, id string) (engine.Snapshot, error) {
	if j.db == nil {
		var err error
		if j.beside == "" {
			j.dir, j.release, err = outfile.Scratch("", "patrol-rehearsal-")
		} else {
			j.dir, j.release = j.beside, func() error { return os.RemoveAll(j.beside) }
			err = os.Mkdir(j.dir, 0o700)
		}
		if err == nil {
			j.db, err = store.Open(ctx, filepath.Join(j.dir, "fresh.db"), store.Options{Mode: store.ReadWrite, Now: j.run.Now})
		}
		if err != nil {
			return engine.Snapshot{}, err
		}
	}
	outcome := j.Sessions[id].Capture(ctx)
	i := slices.IndexFunc(j.plan.Workspaces, func(w engine.PlanWorkspace) bool { return w.ID == id })
	outcome.Capture.Workspace.Labels = j.plan.Workspaces[i].Labels
	snapshot, err := j.db.SaveSnapshot(ctx, outcome.Capture)
	return snapshot, errors.Join(err, outcome.Close())
}

// workspace reads a workspace when it is first asked for.
func (j *FreshJudge) workspace(ctx context.Context, id string, now time.Time) (*judgedWorkspace, error) {
	if w, known := j.workspaces[id]; known {
		return w, nil
	}
	snapshot, err := j.capture(ctx, id)
	if err != nil {
		return nil, err
	}
	w := &judgedWorkspace{snapshot: snapshot, subjects: map[string]engine.Subject{}, tuning: map[string]policy.Tuning{}, read: map[engine.SectionName]reading{}}
	for policyID, t := range j.plan.Reevaluates[id] { // what the plan was made with
		w.tuning[policyID] = policy.Tuning{Severity: t.Severity, Params: t.Params}
	}
	for policyID, t := range j.set.Effective(snapshot.Workspace) {
		if t.Disabled { // since then: it finds no fault any more
			w.tuning[policyID] = policy.Tuning{Disabled: true}
		}
	}
	wanted := map[string]bool{} // tokens that steps are about
	for _, step := range j.plan.Steps {
		if step.WorkspaceID == id && remedy.OnToken(step) {
			wanted[step.Target] = true
		}
	}
	for subject, err := range j.db.Subjects(ctx, snapshot.ID, now, true) {
		if err != nil {
			return nil, err
		}
		if wanted[subject.Token.ID] {
			w.subjects[subject.Token.ID] = subject
		}
	}
	j.workspaces[id] = w
	return w, nil
}

// SettleIn gives the database a place beside the journal, whose lock makes it
// ours, and wipes what a run that was killed has left there.
func (j *FreshJudge) SettleIn(journal string) error {
	j.beside = journal + ".fresh"
	if err := os.RemoveAll(j.beside); err != nil {
		return &engine.Error{Class: engine.ClassStorage, Reason: "output", Op: "wipe", Target: j.beside, Hint: "Remove it by hand: an earlier run has left it.", Err: err}
	}
	return nil
}

// Close removes what was read.
func (j *FreshJudge) Close() {
	j.leave()
	var errs []error
	for _, id := range engine.SortedKeys(j.Sessions) {
		errs = append(errs, j.Sessions[id].Close())
	}
	if j.db != nil {
		errs = append(errs, j.db.Close())
	}
	if j.dir != "" {
		errs = append(errs, j.release())
	}
	if err := errors.Join(errs...); err != nil {
		j.run.Log.Say("warning: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}
