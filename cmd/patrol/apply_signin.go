package main

import (
	"context"
	"iter"
	"slices"

	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/apply"
)

// signInto signs in to the workspaces of the plan in which something is to be
// done. Which target leads to which workspace only signing in tells; those of
// the same name are tried first, and no more than it takes.
func (a *app) signInto(ctx context.Context, job *apply.Job, judge *freshJudge, o *applyOptions) error {
	job.Workspaces = map[string]apply.Workspace{}
	wanted, err := job.Needed(ctx)
	if err != nil {
		return err
	}
	if err := a.Discover(ctx, &o.source); err != nil {
		return err
	}
	var failed error
	for _, target := range byName(a.Targets(&o.source), job.Plan.Workspaces) {
		if len(job.Workspaces) == len(wanted) {
			return nil
		}
		session, err := collectors.SignIn(ctx, target, a.CollectOptions(&o.source))
		if err != nil {
			a.say("%s: %s", target.Label(), err)
			failed = err
			continue
		}
		id := session.Workspace().ID
		if _, served := job.Workspaces[id]; served || !slices.Contains(wanted, id) {
			a.detail("%s: leads to workspace %s, in which nothing is to be done", target.Label(), id)
			if err := session.Close(); err != nil {
				return err
			}
			continue
		}
		judge.sessions[id] = session
		job.Workspaces[id] = applyWorkspace(session)
	}
	if len(job.Workspaces) == len(wanted) {
		return nil
	}
	return refusedSignIn(failed)
}

// refusedSignIn is why a workspace could not be signed in to. Nothing was sent,
// so that it counts as a refusal; a wrong configuration stays one. Without any
// failure the gates tell which workspace nobody leads to.
func refusedSignIn(failed error) error {
	known, ok := engine.AsError(failed)
	if !ok || known.Class == engine.ClassUsage {
		return failed
	}
	told := *known
	told.Class, told.Op = engine.ClassRefused, "sign in to"
	return &told
}

func byName(targets []collectors.Target, workspaces []engine.PlanWorkspace) []collectors.Target {
	named := func(t collectors.Target) int {
		for _, w := range workspaces {
			if t.Label() == w.Name {
				return 0
			}
		}
		return 1
	}
	sorted := slices.Clone(targets)
	slices.SortStableFunc(sorted, func(x, y collectors.Target) int { return named(x) - named(y) })
	return sorted
}

func applyWorkspace(s *collectors.Session) apply.Workspace {
	caller := s.Caller()
	return apply.Workspace{
		Workspace: s.Workspace(), Client: s, Skew: s.Skew(), Now: s.Now,
		Caller: apply.Caller{ID: caller.ID, Name: caller.Name, Admin: caller.Admin, PAT: caller.AuthType == "pat", TokenID: caller.TokenID},
		Tokens: func(ctx context.Context) (iter.Seq2[engine.Token, error], error) {
			section, err := s.Tokens(ctx)
			return section.Tokens, err
		},
	}
}
