package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/exceptions"
	"patrol/engine/outfile"
	"patrol/engine/policy"
	"patrol/engine/store"

	"github.com/spf13/pflag"
)

// exceptOptions name the files that excuse findings. Empty names none.
type exceptOptions struct {
	waivers  string
	baseline string
	create   string
	critical []string // policies whose critical findings a baseline may excuse
}

func (o *exceptOptions) addFlags(flags *pflag.FlagSet) {
	o.addWaivers(flags)
	flags.StringVar(&o.baseline, "baseline", "", "excuse the findings that this `file` lists, so that only new ones fail")
	flags.StringSliceVar(&o.critical, "baseline-critical", nil, "let baselines hold critical findings of these policies, too: `ids` or aliases")
	flags.StringVar(&o.create, "create-baseline", "", "write the findings that fail now to this `file`, for --baseline")
}

func (o *exceptOptions) addWaivers(flags *pflag.FlagSet) {
	flags.StringVar(&o.waivers, "waivers", "waivers.yaml", "excuse findings by the dated waivers in this `file`; a missing default is no error")
}

// exceptionFiles are the waivers and the baseline of a run; nil where there are none.
type exceptionFiles struct {
	waivers  *exceptions.Waivers
	baseline *exceptions.Baseline
	critical []string // policies whose critical findings the baseline may excuse
}

// loadExceptions reads what excuses findings, before anything else is done.
// known are the policies that a waiver may name.
func (a *app) loadExceptions(known []engine.Policy, o *exceptOptions) (x exceptionFiles, err error) {
	for _, name := range o.critical {
		i := slices.IndexFunc(known, func(p engine.Policy) bool { return named(p, name) })
		if i < 0 {
			return x, engine.UsageError("read flag", "--baseline-critical", "See `patrol policies list` for the ids.", fmt.Errorf("no policy has the id or alias %q", name))
		}
		x.critical = append(x.critical, known[i].ID)
	}
	if o.create != "" {
		if err := outfile.Check(o.create); err != nil {
			return x, err
		}
	}
	if x.waivers, err = a.loadWaivers(known, o.waivers); err != nil || o.baseline == "" {
		return x, err
	}
	text, err := os.ReadFile(o.baseline)
	if err != nil {
		return x, unreadable("read baseline", o.baseline, "Name a file made by --create-baseline.", err)
	}
	x.baseline, err = exceptions.ParseBaseline(o.baseline, text)
	return x, err
}

// loadWaivers gives nil where the default file does not exist.
func (a *app) loadWaivers(known []engine.Policy, path string) (*exceptions.Waivers, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && a.origins["waivers"] == "default" {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable("read waivers", path, "Name an existing file with --waivers, or leave the flag out.", err)
	}
	return exceptions.ParseWaivers(path, text, known)
}

func unreadable(op, path, hint string, err error) error {
	return &engine.Error{Class: engine.ClassUsage, Reason: "cannot_read", Op: op, Target: path, Hint: hint, Err: err}
}

// activeExceptions is waivers and baseline at work in one evaluation. Workspaces may be
// judged side by side.
type activeExceptions struct {
	lock     sync.Mutex
	waivers  *exceptions.WaiverMatcher    // nil: none
	baseline *exceptions.BaselineMatcher  // nil: none
	judges   map[string]*eval.WaiverJudge // by tuning: a waiver is judged once for all workspaces that are tuned alike
}

func (x exceptionFiles) begin(asOf time.Time) *activeExceptions {
	e := activeExceptions{judges: map[string]*eval.WaiverJudge{}}
	if x.waivers != nil {
		e.waivers = exceptions.NewWaiverMatcher(x.waivers.Rules, engine.DateOf(asOf))
	}
	if x.baseline != nil {
		e.baseline = exceptions.NewBaselineMatcher(x.baseline, x.critical)
	}
	return &e
}

// exceptIn is what excuses the findings of a workspace: the policies over waivers
// are tuned there like the others. Waivers are asked first: they say who and why,
// which a baseline cannot.
func (e *activeExceptions) exceptIn(ctx context.Context, set *policySet, asOf time.Time, tuning map[string]policy.Tuning) (func(engine.Finding) engine.Finding, error) {
	var judge *eval.WaiverJudge
	if e.waivers != nil {
		key := string(engine.CompactJSON(tuning))
		e.lock.Lock()
		defer e.lock.Unlock()
		if judge = e.judges[key]; judge == nil {
			var err error
			if judge, err = set.all.WaiverJudge(ctx, asOf, tuning); err != nil {
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

// leave ends what judges waivers.
func (e *activeExceptions) leave() {
	for _, judge := range e.judges {
		judge.Close()
	}
}

func (e *activeExceptions) see(f engine.Finding) {
	e.lock.Lock()
	defer e.lock.Unlock()
	if e.baseline != nil {
		e.baseline.See(f)
	}
}

func (e *activeExceptions) judged(s engine.Snapshot, tallies map[string]engine.Tally) {
	e.lock.Lock()
	defer e.lock.Unlock()
	if e.waivers != nil {
		e.waivers.Judged(s, tallies)
	}
	if e.baseline != nil {
		e.baseline.Judged(s, tallies)
	}
}

func (e *activeExceptions) result() (x engine.Exceptions) {
	if e.waivers != nil {
		x.Waivers = e.waivers.Uses()
	}
	if e.baseline != nil {
		x.Baseline = e.baseline.Use()
	}
	return x
}

// tellExceptions says in a line what the report tells in full.
func (a *app) tellExceptions(e *activeExceptions) {
	x := e.result()
	if len(x.Waivers) > 0 {
		a.say("waivers: %s", waiverCounts(x))
	}
	if b := x.Baseline; b != nil {
		a.say("baseline: %s, %d still failing, %d gone, %d not judged", plural(b.Entries, "finding"), b.Baselined, len(b.Gone), b.NotJudged)
		if n := e.baseline.Refused(); n > 0 {
			a.say("warning: %s of the baseline not excused: critical ones fail unless --baseline-critical names their policies", plural(n, "finding"))
		}
	}
}

func waiverCounts(x engine.Exceptions) string {
	parts := []string{fmt.Sprintf("%d in force", len(x.In(engine.WaiverInForce)))}
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
			parts = append(parts, fmt.Sprintf("%d %s", kind.count, kind.words))
		}
	}
	return strings.Join(parts, ", ")
}

// createBaseline writes what fails in an evaluation, when asked to.
func (a *app) createBaseline(ctx context.Context, db *store.DB, evaluation int64, path string, critical []string) error {
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
	a.say("baseline: %s written to %s", plural(count, "finding"), path)
	if left > 0 {
		a.say("warning: %s left out of the baseline: critical ones go on failing unless --baseline-critical names their policies", plural(left, "finding"))
	}
	return nil
}
