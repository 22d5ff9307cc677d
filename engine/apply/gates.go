package apply

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

// The bounds of the gates.
const (
	maxSkew        = time.Hour
	maxSnapshotAge = 72 * time.Hour
	maxShift       = 0.2 // of the population between plan and apply
)

// refused is the error of a gate: nothing was sent.
func refused(reason, target, hint, format string, args ...any) error {
	return &engine.Error{Class: engine.ClassRefused, Reason: reason, Op: "apply", Target: target, Hint: hint, Err: fmt.Errorf(format, args...)}
}

const hintReplan = "Audit and plan again: the plan no longer fits."

// offline passes the gates that need no network.
func (r *run) offline() error {
	for _, gate := range []func() error{r.checkApproval, r.checkHistory, r.checkMaker, r.checkTimes, r.checkSnapshots, r.checkSteps, r.checkLimits} {
		if err := gate(); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) checkApproval() error {
	if len(r.approved()) == 0 && !r.settling() {
		return refused("unapproved", r.job.Plan.ID, "Approve steps with `patrol approve`.", "no step of the plan is approved")
	}
	return nil
}

// checkHistory refuses a plan that is finished, and one that has begun unless
// it is to be gone on with.
func (r *run) checkHistory() error {
	begun, open := false, false
	for _, step := range r.steps() {
		entry, known := r.entries[step.ID]
		begun = begun || known && entry.State != engine.StatePending
		open = open || !known || !entry.State.Terminal()
	}
	switch {
	case !open:
		return refused("already_applied", r.job.Plan.ID, "Nothing is left to do; the outcome is the one shown. With --idempotent this is no error.", "every approved step has its outcome")
	case begun && !r.job.Options.Resume && !r.job.Options.DryRun:
		return refused("unfinished", r.job.Plan.ID, "Go on with --resume: it settles what was in hand, and carries out the rest.", "an earlier run has begun this plan and not finished it")
	}
	return nil
}

// checkMaker refuses what another policy engine, or other policies, decided.
func (r *run) checkMaker() error {
	plan, judged := r.job.Plan, slices.ContainsFunc(r.approved(), remedy.OnToken) // a step rests on policies that are run again
	switch {
	case plan.Schema != engine.PlanSchema:
		return refused("schema", plan.ID, "Use the version of patrol that made it.", "plan has schema %d, want %d", plan.Schema, engine.PlanSchema)
	case plan.Policies != r.job.Policies && judged:
		return refused("policy_digest", plan.ID, "Give the same --policy directories as for the plan, or plan again.", "the policies are not those that the plan was made with")
	case plan.Engine != r.job.Engine && judged:
		return refused("engine_version", plan.ID, hintReplan, "made with policy engine %s, this is %s", plan.Engine, r.job.Engine)
	}
	return nil
}

// checkTimes holds the plan against our own clock, before any network. Whether
// its time has come, the workspaces' clocks say, from which the plan's times come:
// ours may be behind.
func (r *run) checkTimes() error {
	now := r.job.Clock.Now()
	return r.checkTimesAt(now, now.Add(maxSkew))
}

func (r *run) checkTimesAt(now, latest time.Time) error {
	notBefore, err1 := time.Parse(time.RFC3339, r.job.Plan.NotBefore)
	expires, err2 := time.Parse(time.RFC3339, r.job.Plan.ExpiresAt)
	if err := errors.Join(err1, err2); err != nil {
		return refused("bad_time", r.job.Plan.ID, hintReplan, "%w", err)
	}
	switch {
	case latest.Before(notBefore):
		return refused("too_early", r.job.Plan.ID, "Wait: the owners were given until then.", "may be applied from %s on", r.job.Plan.NotBefore)
	case !now.Before(expires) && !r.settling():
		return refused("expired", r.job.Plan.ID, hintReplan, "good until %s", r.job.Plan.ExpiresAt)
	case !now.Before(expires):
		r.expired = true
	}
	return nil
}

// settling reports whether a run may look at what an earlier one left in hand
// although the plan is too old for anything new.
func (r *run) settling() bool {
	if !r.job.Options.Resume {
		return false
	}
	for _, entry := range r.entries {
		if !entry.State.Terminal() && entry.State != engine.StatePending {
			return true
		}
	}
	return false
}

func (r *run) checkSnapshots() error {
	for _, w := range r.involved() {
		collected, err := time.Parse(time.RFC3339, w.CollectedAt)
		switch {
		case err != nil || w.Digest == "":
			return refused("no_snapshot", w.Name, hintReplan, "the plan does not say what it was made from")
		case r.job.Clock.Now().Sub(collected) > maxSnapshotAge+r.grace() && !r.expired:
			return refused("stale_snapshot", w.Name, hintReplan, "was read at %s, more than %s ago", w.CollectedAt, maxSnapshotAge+r.grace())
		}
		for _, section := range r.needed(w.ID) {
			if status := w.Coverage[section]; status != engine.Complete && (status != engine.OddRows || section != engine.SectionTokens) {
				return refused("incomplete_snapshot", w.Name, hintReplan, "%s were not read whole (%s)", section, w.Coverage[section])
			}
		}
	}
	return nil
}

// grace is the time that owners were given: a plan may be as much older.
func (r *run) grace() time.Duration {
	asOf, err1 := time.Parse(time.RFC3339, r.job.Plan.AsOf)
	notBefore, err2 := time.Parse(time.RFC3339, r.job.Plan.NotBefore)
	if err1 != nil || err2 != nil {
		return 0
	}
	return max(0, notBefore.Sub(asOf))
}

// needed are the sections that the approved steps of a workspace act on.
func (r *run) needed(workspace string) []engine.SectionName {
	need := map[engine.SectionName]bool{}
	for _, step := range r.approved() {
		if step.WorkspaceID == workspace && r.job.Plan.Undoes == "" && remedy.Changes(step) {
			need[remedy.Of(step.Action).Section] = true
		}
	}
	return engine.SortedKeys(need)
}

func (r *run) checkSteps() error {
	for _, step := range r.approved() {
		if remedy.Of(step.Action).Name == "" {
			return refused("unknown_action", step.ID, "Use the version of patrol that made the plan.", "nothing here does %q", step.Action)
		}
		if remedy.Changes(step) && step.Precondition.Digest != engine.Fingerprint(step.Precondition.Identity) {
			return refused("tampered", step.ID, "Plan again, and find out who changed the plan.", "the step's precondition is not what its digest says")
		}
	}
	return nil
}

// checkLimits counts what is approved now together with what earlier runs did.
func (r *run) checkLimits() error {
	counted := func(id string) bool { return r.job.Approval.Steps[id] || r.entries[id].Attempt > 0 }
	excesses := remedy.Exceeds(r.job.Plan, counted)
	if len(excesses) == 0 {
		return nil
	}
	texts := make([]string, len(excesses))
	for i, excess := range excesses {
		texts[i] = excess.String()
	}
	return refused("over_limits", r.job.Plan.ID, "Approve fewer steps, or raise the limits in the configuration and plan again.", "%s", strings.Join(texts, "; "))
}

// signedIn passes the gates that need to know who answers, and as whom.
func (r *run) signedIn() error {
	for _, w := range r.involved() {
		live, served := r.job.Workspaces[w.ID]
		if !served {
			return refused("wrong_workspace", w.Name, "Name its profile with --profile.", "no profile or environment of this run leads to workspace %s", w.ID)
		}
		if err := r.checkWorkspace(w, live); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) checkWorkspace(w engine.PlanWorkspace, live Workspace) error {
	switch {
	case live.ID != w.ID:
		return refused("wrong_workspace", w.Name, "Name the profile of the plan's workspace.", "the plan is for workspace %s, %s answers", w.ID, live.ID)
	case live.Host != w.Host:
		return refused("wrong_workspace", w.Name, "Use the host that the plan was made from, or plan again.", "the plan is for %s, %s answers", w.Host, live.Host)
	case live.Caller.ID == "":
		return refused("unknown_caller", w.Name, "Sign in as a user or service principal of the workspace.", "the workspace does not tell who we are, so that our own tokens cannot be spared")
	case !live.Caller.Admin:
		return refused("not_admin", w.Name, "Sign in as a workspace admin.", "%s is not an admin", live.Caller.Name)
	case live.Skew.Abs() > maxSkew:
		return refused("clock_skew", w.Name, "Correct this machine's clock.", "the clocks differ by %s", live.Skew.Round(time.Second))
	}
	for _, step := range r.approved() {
		if step.WorkspaceID == w.ID && remedy.DisablesTokens(step) && live.Caller.PAT {
			return refused("pat_auth", w.Name, "Sign in by OAuth for this step.", "switching tokens off would cut off the token that this run signs in with")
		}
	}
	return r.checkTimesAt(live.Now(), live.Now())
}

// checkPopulation refuses to act where far more, or far fewer, tokens are than
// the plan and what was done since can explain.
func (r *run) checkPopulation(w engine.PlanWorkspace, now int) error {
	expected, slack := w.Tokens, 0
	for _, entry := range r.entries {
		switch {
		case entry.Workspace != w.ID || !remedy.Of(entry.Action).Removes:
		case entry.State.CarriedOut():
			expected--
		case !entry.State.Terminal() && entry.Attempt > 0:
			slack++
		}
	}
	shift := math.Abs(float64(now-expected)) - float64(slack)
	if shift > maxShift*float64(max(expected, 1)) {
		return refused("population_shift", w.Name, hintReplan, "%d tokens are there, %d were to be expected", now, expected)
	}
	return nil
}
