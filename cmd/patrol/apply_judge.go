package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/store"
)

// freshJudge runs the policies of a step again, on what the workspace is like
// now: owners, settings and grants are read once, when the first step asks,
// the token itself right before it is acted on. What is read goes through a
// database of its own, so that it is derived as in an audit, and which is
// removed at the end.
type freshJudge struct {
	app        *app
	set        *policySet
	policies   *eval.Set // all of the set, kept until close
	leave      func()
	plan       engine.Plan
	sessions   map[string]*collectors.Session
	workspaces map[string]*judgedWorkspace
	beside     string // directory beside the journal; "" in a rehearsal
	dir        string
	db         *store.DB
}

// judgedWorkspace is a workspace as it is now.
type judgedWorkspace struct {
	snapshot engine.Snapshot
	subjects map[string]engine.Subject // of the plan's tokens, by id
	tuning   map[string]eval.Tuning
}

func newFreshJudge(a *app, set *policySet, p engine.Plan) *freshJudge {
	j := &freshJudge{app: a, set: set, plan: p, sessions: map[string]*collectors.Session{}, workspaces: map[string]*judgedWorkspace{}}
	j.policies, j.leave = set.all.Keep()
	return j
}

// StillFires implements apply.Judge. Every policy that the step rests on must
// still find fault: an approval was given for all of the reasons.
func (j *freshJudge) StillFires(ctx context.Context, s engine.Step, t engine.Token, now time.Time) (bool, string, error) {
	w, err := j.workspace(ctx, s.WorkspaceID, now)
	if err != nil {
		return false, "", err
	}
	subject, known := w.subjects[t.ID]
	if !known {
		return false, "the list of tokens did not hold it", nil
	}
	subject.Token, subject.Facts = t, engine.Derive(t, now.UnixMilli())
	verdicts, err := j.verdicts(ctx, w, s, subject, now)
	if err != nil {
		return false, "", err
	}
	for _, id := range s.Policies {
		switch f, found := verdicts[id]; {
		case !found:
			return false, id + " finds no fault any more", nil
		case f.Status != engine.Fail:
			return false, fmt.Sprintf("%s is %s now: %s", id, f.Status, f.Message), nil
		}
	}
	return true, "", nil
}

// verdicts are the findings of the step's policies on the token.
func (j *freshJudge) verdicts(ctx context.Context, w *judgedWorkspace, s engine.Step, subject engine.Subject, now time.Time) (map[string]engine.Finding, error) {
	chosen := j.policies.Select(func(p engine.Policy) bool { return slices.Contains(s.Policies, p.ID) })
	one := func(yield func(engine.Subject, error) bool) { yield(subject, nil) }
	job := eval.Job{Snapshot: w.snapshot, AsOf: now, Tokens: func(bool) iter.Seq2[engine.Subject, error] { return one }, Tuning: w.tuning}
	excusing := exceptionFiles{waivers: j.set.exceptions.waivers}.begin(now) // a baseline says nothing about what may be revoked
	defer excusing.leave()
	if err := excusing.enter(ctx, j.set, now, w.tuning); err != nil {
		return nil, err
	}
	job.Except = excusing.except
	found := map[string]engine.Finding{}
	_, err := chosen.Evaluate(ctx, job, func(f engine.Finding) error {
		found[f.Policy] = f.Redacted() // what it says goes into the journal
		return nil
	})
	return found, err
}

// workspace reads a workspace when it is first asked for.
func (j *freshJudge) workspace(ctx context.Context, id string, now time.Time) (*judgedWorkspace, error) {
	if w, known := j.workspaces[id]; known {
		return w, nil
	}
	db, err := j.database(ctx)
	if err != nil {
		return nil, err
	}
	outcome := j.sessions[id].Capture(ctx)
	i := slices.IndexFunc(j.plan.Workspaces, func(w engine.PlanWorkspace) bool { return w.ID == id })
	outcome.Capture.Workspace.Labels = j.plan.Workspaces[i].Labels
	snapshot, err := db.SaveSnapshot(ctx, outcome.Capture)
	if err = errors.Join(err, outcome.Close()); err != nil {
		return nil, err
	}
	w := &judgedWorkspace{snapshot: snapshot, tuning: j.tuning(id, snapshot.Workspace)}
	if w.subjects, err = j.targets(db.Subjects(ctx, snapshot.ID, now), id); err != nil {
		return nil, err
	}
	j.workspaces[id] = w
	return w, nil
}

func (j *freshJudge) database(ctx context.Context) (*store.DB, error) {
	if j.db != nil {
		return j.db, nil
	}
	if err := j.makeDir(); err != nil {
		return nil, err
	}
	var err error
	j.db, err = store.Open(ctx, filepath.Join(j.dir, "fresh.db"), store.Options{Mode: store.ReadWrite, Now: j.app.env.now})
	return j.db, err
}

// settleIn gives the database a place beside the journal, whose lock makes it
// ours, and wipes what a run that was killed has left there.
func (j *freshJudge) settleIn(journal string) error {
	j.beside = journal + ".fresh"
	if err := os.RemoveAll(j.beside); err != nil {
		return &engine.Error{Class: engine.ClassStorage, Reason: "output", Op: "wipe", Target: j.beside, Hint: "Remove it by hand: an earlier run has left it.", Err: err}
	}
	return nil
}

// makeDir makes the directory of the database. A rehearsal, which holds no
// lock, has one of its own.
func (j *freshJudge) makeDir() (err error) {
	if j.beside == "" {
		j.dir, err = os.MkdirTemp("", "patrol-rehearsal-") // 0700
		return err
	}
	j.dir = j.beside
	return os.Mkdir(j.dir, 0o700)
}

// targets keeps the tokens that steps are about.
func (j *freshJudge) targets(all iter.Seq2[engine.Subject, error], workspace string) (map[string]engine.Subject, error) {
	wanted := map[string]bool{}
	for _, step := range j.plan.Steps {
		if step.WorkspaceID == workspace && step.Action.OnToken() {
			wanted[step.Target] = true
		}
	}
	kept := map[string]engine.Subject{}
	for subject, err := range all {
		if err != nil {
			return nil, err
		}
		if wanted[subject.Token.ID] {
			kept[subject.Token.ID] = subject
		}
	}
	return kept, nil
}

// tuning is what the plan was made with; a policy that was switched off since
// finds no fault any more.
func (j *freshJudge) tuning(id string, w engine.Workspace) map[string]eval.Tuning {
	tunings := map[string]eval.Tuning{}
	for policy, t := range j.plan.Reevaluates[id] {
		tunings[policy] = eval.Tuning{Severity: t.Severity, Params: t.Params}
	}
	for policy, t := range j.set.effective(w) {
		if t.Disabled {
			tunings[policy] = eval.Tuning{Disabled: true}
		}
	}
	return tunings
}

// close removes what was read.
func (j *freshJudge) close() {
	j.leave()
	var errs []error
	for _, id := range engine.SortedKeys(j.sessions) {
		errs = append(errs, j.sessions[id].Close())
	}
	if j.db != nil {
		errs = append(errs, j.db.Close())
	}
	if j.dir != "" {
		errs = append(errs, os.RemoveAll(j.dir))
	}
	if err := errors.Join(errs...); err != nil {
		j.app.say("warning: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}
