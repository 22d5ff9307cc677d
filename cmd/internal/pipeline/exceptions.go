package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/exceptions"
	"patrol/engine/outfile"
	"patrol/engine/policy"
	"patrol/engine/store"
)

// ExceptionPaths name the files that excuse findings. Empty names none.
type ExceptionPaths struct {
	Waivers         string
	WaiversOptional bool // a file that does not exist holds none
	Baseline        string
	Create          string   // write what fails to this baseline
	Critical        []string // policies whose critical findings a baseline may excuse: ids or aliases
}

// Exceptions are the waivers and the baseline of a run; nil where there are none.
type Exceptions struct {
	Waivers  *exceptions.Waivers
	Baseline *exceptions.Baseline
	critical []string // ids of policies whose critical findings the baseline may excuse
}

// read reads what excuses findings, before anything else is done. known are the
// policies that a waiver may name.
func (o *ExceptionPaths) read(known []engine.Policy) (x Exceptions, err error) {
	for _, name := range o.Critical {
		i := slices.IndexFunc(known, func(p engine.Policy) bool { return Named(p, name) })
		if i < 0 {
			return x, engine.UsageError("read flag", "--baseline-critical", "See `patrol policies list` for the ids.", fmt.Errorf("no policy has the id or alias %q", name))
		}
		x.critical = append(x.critical, known[i].ID)
	}
	if o.Create != "" {
		if err := outfile.Check(o.Create); err != nil {
			return x, err
		}
	}
	if o.Waivers != "" {
		text, err := os.ReadFile(o.Waivers)
		switch {
		case errors.Is(err, fs.ErrNotExist) && o.WaiversOptional:
		case err != nil:
			return x, Unreadable("read waivers", o.Waivers, "Name an existing file with --waivers, or leave the flag out.", err)
		default:
			if x.Waivers, err = exceptions.ParseWaivers(o.Waivers, text, known); err != nil {
				return x, err
			}
		}
	}
	if o.Baseline == "" {
		return x, nil
	}
	text, err := os.ReadFile(o.Baseline)
	if err != nil {
		return x, Unreadable("read baseline", o.Baseline, "Name a file made by --create-baseline.", err)
	}
	x.Baseline, err = exceptions.ParseBaseline(o.Baseline, text)
	return x, err
}

// Unreadable is the error of a file that the user named and that cannot be read.
func Unreadable(op, path, hint string, err error) error {
	return &engine.Error{Class: engine.ClassUsage, Reason: "cannot_read", Op: op, Target: path, Hint: hint, Err: err}
}

// ActiveExceptions is waivers and baseline at work in one evaluation. Workspaces
// may be judged side by side.
type ActiveExceptions struct {
	lock     sync.Mutex
	waivers  *exceptions.WaiverMatcher    // nil: none
	baseline *exceptions.BaselineMatcher  // nil: none
	judges   map[string]*eval.WaiverJudge // by tuning: a waiver is judged once for all workspaces that are tuned alike
}

// Start puts exceptions to work, until Close.
func (x Exceptions) Start(asOf time.Time) *ActiveExceptions {
	e := ActiveExceptions{judges: map[string]*eval.WaiverJudge{}}
	if x.Waivers != nil {
		e.waivers = exceptions.NewWaiverMatcher(x.Waivers.Rules, engine.DateOf(asOf))
	}
	if x.Baseline != nil {
		e.baseline = exceptions.NewBaselineMatcher(x.Baseline, x.critical)
	}
	return &e
}

// Exempt is what excuses the findings of a workspace: the policies over waivers
// are tuned there like the others. Waivers are asked first: they say who and why,
// which a baseline cannot.
func (e *ActiveExceptions) Exempt(ctx context.Context, policies *Policies, asOf time.Time, tuning map[string]policy.Tuning) (func(engine.Finding) engine.Finding, error) {
	var judge *eval.WaiverJudge
	if e.waivers != nil {
		key := string(engine.CompactJSON(tuning))
		e.lock.Lock()
		defer e.lock.Unlock()
		if judge = e.judges[key]; judge == nil {
			var err error
			if judge, err = policies.All.WaiverJudge(ctx, asOf, tuning); err != nil {
				return nil, err
			}
			e.judges[key] = judge
		}
	}
	return func(f engine.Finding) engine.Finding {
		e.lock.Lock()
		defer e.lock.Unlock()
		if e.waivers != nil {
			f = e.waivers.Except(f, func(w engine.WaiverRule, f engine.Finding) []engine.WaiverRefusal {
				return judge.Judge(ctx, eval.WaiverCase{Waiver: w, Policy: f.Policy, Severity: f.Severity, Finding: &f})
			})
		}
		if e.baseline != nil {
			f = e.baseline.Except(f)
		}
		return f
	}, nil
}

// Close ends what judges waivers.
func (e *ActiveExceptions) Close() {
	for _, judge := range e.judges {
		judge.Close()
	}
}

// See takes in a finding as it came to be.
func (e *ActiveExceptions) See(f engine.Finding) {
	e.lock.Lock()
	defer e.lock.Unlock()
	if e.baseline != nil {
		e.baseline.See(f)
	}
}

// Judged takes in that a snapshot was judged, and by which policies.
func (e *ActiveExceptions) Judged(s engine.Snapshot, tallies map[string]engine.Tally) {
	e.lock.Lock()
	defer e.lock.Unlock()
	if e.waivers != nil {
		e.waivers.Judged(s, tallies)
	}
	if e.baseline != nil {
		e.baseline.Judged(s, tallies)
	}
}

// Result is what became of each exception.
func (e *ActiveExceptions) Result() (x engine.Exceptions) {
	if e.waivers != nil {
		x.Waivers = e.waivers.Uses()
	}
	if e.baseline != nil {
		x.Baseline = e.baseline.Use()
	}
	return x
}

// sayExceptions sums up in a line what the report lists.
func (r *Run) sayExceptions(e *ActiveExceptions) {
	x := e.Result()
	if len(x.Waivers) > 0 {
		r.Log.Say("waivers: %s", WaiverCounts(x))
	}
	if b := x.Baseline; b != nil {
		r.Log.Say("baseline: %s, %d still failing, %d gone, %d not judged", engine.Plural(b.Entries, "finding"), b.Baselined, len(b.Gone), b.NotJudged)
		if n := e.baseline.Refused(); n > 0 {
			r.Log.Say("warning: %s of the baseline not excused: critical ones fail unless --baseline-critical names their policies", engine.Plural(n, "finding"))
		}
	}
}

// WaiverCounts are how many waivers are in which state: "3 in force, 1 expired".
func WaiverCounts(x engine.Exceptions) string {
	text := fmt.Sprintf("%d in force", len(x.In(engine.WaiverInForce)))
	for _, kind := range []struct {
		count int
		words string
	}{
		{len(x.Expiring()), fmt.Sprintf("expiring within %d days", engine.WaiverNotice)},
		{len(x.In(engine.WaiverExpired)), "expired"},
		{len(x.Refused()), "refused by policy"},
		{len(x.In(engine.WaiverUnmatched)), "matching nothing"},
		{len(x.In(engine.WaiverPending)), "not yet in force"},
		{len(x.In(engine.WaiverNotJudged)), "about what was not judged"},
	} {
		if kind.count > 0 {
			text += fmt.Sprintf(", %d %s", kind.count, kind.words)
		}
	}
	return text
}

// createBaseline writes what fails in an evaluation, when asked to.
func (r *Run) createBaseline(ctx context.Context, db *store.DB, evaluation int64, path string, critical []string) error {
	if path == "" {
		return nil
	}
	report, err := db.Report(ctx, evaluation)
	if err != nil {
		return err
	}
	count, left := 0, 0
	err = outfile.Write(path, func(w io.Writer) (err error) {
		count, left, err = exceptions.WriteBaseline(w, report.Version, report.AsOf, report.Findings, critical)
		return err
	})
	if err != nil {
		return err
	}
	r.Log.Say("baseline: %s written to %s", engine.Plural(count, "finding"), path)
	if left > 0 {
		r.Log.Say("warning: %s left out of the baseline: critical ones go on failing unless --baseline-critical names their policies", engine.Plural(left, "finding"))
	}
	return nil
}

// WaiverUses are the waivers as they are written now, let loose on the findings
// of the latest evaluation, and against what they were matched.
func (r *Run) WaiverUses(ctx context.Context, set *Policies, day time.Time) (uses []engine.WaiverUse, matched string, err error) {
	active := Exceptions{Waivers: set.Exceptions.Waivers}.Start(day)
	defer active.Close()
	matched = "no evaluation in " + r.DBPath + ": nothing was matched"
	if _, err := os.Stat(r.DBPath); err == nil {
		err := r.WithStore(ctx, store.ReadOnly, func(db *store.DB) error {
			report, err := r.Evaluation(ctx, db, 0)
			if known, ok := engine.AsError(err); ok && known.Reason == "no_evaluation" {
				return nil
			}
			if err == nil {
				err = report.Intact()
			}
			if err != nil {
				return err
			}
			matched = "matched against the findings as of " + report.AsOf.UTC().Format(time.RFC3339)
			return r.rematch(ctx, set, day, report, active)
		})
		if err != nil {
			return nil, "", err
		}
	}
	uses = active.Result().Waivers
	// Those that met no finding are judged by what does not ask for one.
	tuning := set.Effective(engine.Workspace{})
	judge, err := set.All.WaiverJudge(ctx, day, tuning)
	if err != nil {
		return nil, "", err
	}
	defer judge.Close()
	for i := range uses {
		use := &uses[i]
		if use.Waived == 0 && len(use.Refusals) == 0 {
			for _, id := range use.Policies {
				policy, _ := set.Policy(id)
				severity := cmp.Or(tuning[policy.ID].Severity, policy.Severity)
				for _, why := range judge.Judge(ctx, eval.WaiverCase{Waiver: use.WaiverRule, Policy: policy.ID, Severity: severity}) {
					if !slices.Contains(use.Refusals, why) {
						use.Refusals = append(use.Refusals, why)
					}
				}
			}
		}
		if use.State != engine.WaiverExpired && use.Waived == 0 && len(use.Refusals) > 0 {
			use.State, use.ExpiresSoon = engine.WaiverRefused, false
		}
	}
	return engine.Pseudonymised(r.Names, uses), matched, nil
}

// rematch excuses the findings of a report anew, whatever excused them before.
func (r *Run) rematch(ctx context.Context, set *Policies, day time.Time, report engine.Report, active *ActiveExceptions) error {
	excepts := map[string]func(engine.Finding) engine.Finding{} // by workspace
	tallies := map[string]map[string]engine.Tally{}
	for i := range report.Workspaces {
		w := &report.Workspaces[i].Snapshot.Workspace
		r.Relabel(w)
		var err error
		if excepts[w.ID], err = active.Exempt(ctx, set, day, set.Effective(*w)); err != nil {
			return err
		}
		tallies[w.ID] = map[string]engine.Tally{}
		for _, p := range report.Policies {
			if p.Tally.Evaluated() > 0 {
				tallies[w.ID][p.Policy.ID] = engine.Tally{}
			}
		}
	}
	for f, err := range report.Findings {
		if err != nil {
			return err
		}
		if f.Status == engine.Waived || f.Status == engine.Baselined {
			f.Status, f.Waiver = engine.Fail, nil
		}
		f = excepts[f.WorkspaceID](f)
		if tally := tallies[f.WorkspaceID][f.Policy]; tally != nil {
			tally[f.Status]++
		}
	}
	for _, w := range report.Workspaces {
		active.Judged(w.Snapshot, tallies[w.Snapshot.Workspace.ID])
	}
	return nil
}
