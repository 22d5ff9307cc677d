package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports"
	"patrol/reports/deliver"
)

// openStore opens the database, for writing (then a missing one is made) or reading.
func (a *app) openStore(ctx context.Context, mode store.Mode) (*store.DB, error) {
	return store.Open(ctx, a.dbPath, store.Options{Mode: mode, Now: a.env.now})
}

// checkDatabase finds, before the network is asked, that a new database has no
// place to be made.
func (a *app) checkDatabase() error {
	if _, err := os.Stat(a.dbPath); !errors.Is(err, fs.ErrNotExist) {
		return nil // opening tells what is wrong with one that is there
	}
	return outfile.Check(a.dbPath)
}

// withExisting is withStore for what needs a database that was filled before:
// a misspelt path makes no empty one.
func (a *app) withExisting(ctx context.Context, work func(*store.DB) error) error {
	db, err := store.Open(ctx, a.dbPath, store.Options{Mode: store.ReadWrite, MustExist: true, Now: a.env.now})
	if err != nil {
		return err
	}
	return errors.Join(work(db), db.Close())
}

// withStore opens the database for the length of work and reports the error of
// closing it. Work that only reads sees the database as it was at one moment.
func (a *app) withStore(ctx context.Context, mode store.Mode, work func(*store.DB) error) error {
	db, err := a.openStore(ctx, mode)
	if err != nil {
		return err
	}
	if mode == store.ReadWrite {
		a.tellExposed(filepath.Dir(a.dbPath))
	}
	if err := a.learnNames(ctx, db); err != nil {
		return errors.Join(err, db.Close())
	}
	if mode == store.ReadOnly {
		return errors.Join(db.Read(ctx, work), db.Close())
	}
	return errors.Join(work(db), db.Close())
}

// tellExposed warns of a folder in which others could put something in place of
// what patrol writes. It is no refusal: containers mount such folders for one
// user alone.
func (a *app) tellExposed(dir string) {
	if outfile.Exposed(dir) {
		a.say("warning: anybody on this machine may replace files in %s: take the right to write there from others (chmod o-w)", dir)
	}
}

// collect snapshots the workspaces or files of this run and returns the
// snapshots in the order of the request. A workspace that cannot be read is a
// snapshot that says so, not an error.
func (a *app) collect(ctx context.Context, db *store.DB, o *sourceOptions) ([]engine.Snapshot, error) {
	snapshots, err := a.read(ctx, db, o)
	a.tellSnapshots(snapshots)
	if err == nil && (o.found != nil || len(snapshots) != 1) {
		a.tellReach(a.targets(o), snapshots)
		a.tellDirectory(o.found)
	}
	if err == nil {
		a.tellBeyond(o.request.report, snapshots)
	}
	return snapshots, err
}

// tellBeyond warns of workspaces that only the token report knows: no snapshot
// can say so.
func (a *app) tellBeyond(report *collectors.TokenReport, snapshots []engine.Snapshot) {
	if report == nil {
		return
	}
	var read []engine.Workspace
	for _, s := range snapshots {
		read = append(read, s.Workspace)
	}
	if tokens, workspaces := report.Beyond(read); tokens > 0 {
		shown := strings.Join(workspaces[:min(len(workspaces), 5)], ", ")
		a.say("warning: the token report has %s of %s that this run did not read: %s", plural(tokens, "token"), plural(len(workspaces), "workspace"), engine.SafeText(shown))
	}
}

// tellReach says how many workspaces were to be read and how many were.
func (a *app) tellReach(expected []collectors.Target, snapshots []engine.Snapshot) {
	read := 0
	for _, s := range snapshots {
		if s.Reached() {
			read++
		}
	}
	a.say("expected %s, read %d", plural(max(len(expected), len(snapshots)), "workspace"), read)
}

// read stores a snapshot of each workspace, with progress on a terminal.
func (a *app) read(ctx context.Context, db *store.DB, o *sourceOptions) ([]engine.Snapshot, error) {
	defer a.env.boundMemory(collectBound)()
	o.found.readDirectory(ctx)
	tell, done := a.progress(len(a.targets(o)))
	defer done()
	options := a.collectOptions(o)
	options.Progress = tell
	accepted, err := o.accepted()
	if err != nil {
		return nil, err
	}
	before, err := countsBefore(ctx, db)
	if err != nil {
		return nil, err
	}
	var snapshots []engine.Snapshot
	for outcome, err := range a.outcomes(ctx, o, options) {
		if err != nil {
			return snapshots, err
		}
		if err := notTwice(snapshots, outcome.Capture.Workspace); err != nil {
			return snapshots, errors.Join(err, outcome.Close())
		}
		snapshot, err := a.save(ctx, db, o, outcome, func(c engine.Capture) { collectors.HoldAgainst(c, before[c.Workspace.ID], accepted) })
		if err != nil {
			return snapshots, err
		}
		snapshots = append(snapshots, snapshot)
	}
	if err := a.learnNames(ctx, db); err != nil {
		return snapshots, err
	}
	return snapshots, ctx.Err()
}

// countsBefore are the lengths of the lists of each workspace, as they were when
// they were last read whole, by the workspace's id.
func countsBefore(ctx context.Context, db *store.DB) (map[string]collectors.Counts, error) {
	before := map[string]collectors.Counts{}
	all, err := db.Snapshots(ctx)
	for _, s := range all { // newest first
		known := before[s.Workspace.ID]
		if known == nil {
			known = collectors.Counts{}
			before[s.Workspace.ID] = known
		}
		for list, n := range collectors.CountsOf(s.Coverage, s.Documents) {
			if _, newer := known[list]; !newer {
				known[list] = n
			}
		}
	}
	return before, err
}

// save stores what an outcome brought. A wrong configuration is the user's to
// correct before anything is judged; a workspace that cannot be read is a
// snapshot that says why. What an interrupt cut short is not stored.
func (a *app) save(ctx context.Context, db *store.DB, o *sourceOptions, outcome collectors.Outcome, hold func(engine.Capture)) (engine.Snapshot, error) {
	if known, ok := engine.AsError(outcome.Err); ok && known.Class != engine.ClassIncomplete {
		return engine.Snapshot{}, errors.Join(outcome.Err, outcome.Close())
	}
	if err := ctx.Err(); err != nil {
		return engine.Snapshot{}, errors.Join(err, outcome.Close())
	}
	a.relabel(&outcome.Capture.Workspace)
	if err := o.found.note(&outcome.Capture); err != nil {
		return engine.Snapshot{}, errors.Join(err, outcome.Close())
	}
	hold(outcome.Capture)
	snapshot, err := db.SaveSnapshot(ctx, outcome.Capture)
	return snapshot, errors.Join(err, outcome.Close())
}

// outcomes brings the captures of this run, one after the other.
func (a *app) outcomes(ctx context.Context, o *sourceOptions, options collectors.Options) iter.Seq2[collectors.Outcome, error] {
	return func(yield func(collectors.Outcome, error) bool) {
		for _, path := range o.from {
			imported, err := collectors.Import(ctx, path, collectors.ImportOptions{Options: options, Stdin: a.env.stdin, AcceptEmpty: o.empty})
			if err != nil {
				yield(collectors.Outcome{}, err)
				return
			}
			for _, outcome := range imported {
				if !yield(outcome, nil) {
					return
				}
			}
		}
		if len(o.from) > 0 {
			return
		}
		for outcome := range collectors.Collect(ctx, a.targets(o), options) {
			if !yield(outcome, nil) {
				return
			}
		}
	}
}

func (a *app) collectOptions(o *sourceOptions) collectors.Options {
	if o.found != nil && a.origins["parallel"] == "default" {
		o.parallel = accountParallel
	}
	options := collectors.Options{
		Now: a.env.now, Parallel: o.parallel, CAFile: o.caFile, NoProxy: o.noProxy, UserAgentVersion: a.env.version,
		SpoolDir:     filepath.Dir(a.dbPath),
		Sections:     o.request.sections,
		Usage:        o.request.usage,
		AuditLog:     o.request.log,
		AuditChanges: o.request.changes,
		TokenReport:  o.request.report,
		RetryBudget:  max(o.retry, 1), // 0 would mean the default: a nanosecond is no time for a retry
	}
	if o.found != nil {
		options.Account = &o.found.account
	}
	return options
}

// mostTold is how many workspaces are told of one by one; of more, what they
// have in common is.
const mostTold = 10

func (a *app) tellSnapshots(snapshots []engine.Snapshot) {
	if len(snapshots) <= mostTold || a.verbose {
		for _, snapshot := range snapshots {
			a.tellSnapshot(snapshot)
		}
		return
	}
	whole, tokens := 0, 0
	for _, s := range snapshots {
		tokens += s.Tokens
		if len(s.Incomplete()) == 0 {
			whole++
		}
	}
	a.say("%s, %d of them complete: %s", plural(len(snapshots), "workspace"), whole, plural(tokens, "token"))
	for _, gap := range engine.SharedGaps(snapshots) {
		a.sayGap(engine.FewWords(gap.Workspaces, 5), gap.Gap, gap.Coverage.Hint, true)
	}
}

// tellSnapshot says what a snapshot holds, and why sections were not read whole.
func (a *app) tellSnapshot(s engine.Snapshot) {
	missing, state := s.Incomplete(), "complete"
	if len(missing) > 0 {
		state = plural(len(missing), "section") + " incomplete"
	}
	a.say("%s: %s, %s", s.Workspace.Name, tokensText(s), state)
	if c := s.Coverage[engine.SectionTokens]; c.Complete() && c.Hint != "" {
		a.say("%s: %s. %s", s.Workspace.Name, engine.SafeText(c.Detail), c.Hint)
	}
	hinted := ""
	for _, gap := range s.Gaps() {
		hint := gap.Coverage.Hint
		if hint == hinted {
			hint = ""
		}
		a.sayGap(s.Workspace.Name, gap, hint, false)
		hinted = gap.Coverage.Hint
	}
}

// tokensText is how many tokens a snapshot holds. Of tokens that were not read
// nobody knows how many there are.
func tokensText(s engine.Snapshot) string {
	switch c := s.Coverage[engine.SectionTokens]; {
	case c.Status == engine.Off:
		return "tokens are off"
	case !c.Usable():
		return "tokens not read"
	}
	return plural(s.Tokens, "token")
}

// evaluate judges snapshots and stores the results; it returns the id of the evaluation.
func (a *app) evaluate(ctx context.Context, db *store.DB, set *policySet, snapshots []engine.Snapshot, o *judgeOptions) (int64, error) {
	header := store.EvaluationHeader{
		AsOf: asOf(snapshots, o.asOf), FailOn: o.failOn.Threshold, Narrowed: o.narrowed(), Version: a.env.version,
		Policies: set.inForce(set.chosen.Policies(), snapshots...), Snapshots: ids(snapshots), Framework: o.wholeFramework(),
		MayMiss: everything - int(o.minCoverage), WhatIf: a.whatIf(snapshots, o),
	}
	evaluation, err := db.BeginEvaluation(ctx, header)
	if err != nil {
		return 0, err
	}
	defer evaluation.Rollback() // no-op once committed
	set, leave := set.keep()
	defer leave()
	active := set.exceptions.begin(header.AsOf)
	defer active.leave()
	tokens := 0
	for _, snapshot := range snapshots {
		tokens += snapshot.Tokens
	}
	defer a.env.boundMemory(judgeBound + judgeBoundEach*int64(tokens) + judgeBoundWorkspace*int64(len(snapshots)))()
	step, end := a.stage("judging", "token", tokens)
	defer end()
	var writing sync.Mutex
	err = db.Read(ctx, func(view *store.DB) error {
		err := sideBySide(ctx, snapshots, func(ctx context.Context, snapshot engine.Snapshot) error {
			return a.judge(ctx, view, evaluation, &writing, set, snapshot, header.AsOf, active, step)
		})
		if err != nil {
			return err
		}
		return view.Intact(ctx, snapshots...)
	})
	if err != nil {
		return 0, err
	}
	if err := evaluation.Exceptions(active.result()); err != nil {
		return 0, err
	}
	a.tellExceptions(active)
	id, err := evaluation.Commit()
	if err != nil {
		return 0, err
	}
	return id, a.createBaseline(ctx, db, id, o.except.create, set.exceptions.critical)
}

// smallWorkspace is how many tokens a workspace may have to be judged beside others.
// Larger ones keep all processors busy by themselves, and take memory.
const smallWorkspace = 1000

// sideBySide does work for each snapshot, on all processors where they are small.
func sideBySide(ctx context.Context, snapshots []engine.Snapshot, work func(context.Context, engine.Snapshot) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, snapshot := range snapshots {
		if ctx.Err() != nil {
			break
		}
		if snapshot.Tokens <= smallWorkspace {
			group.Go(func() error { return work(ctx, snapshot) })
		} else if err := work(ctx, snapshot); err != nil {
			group.Go(func() error { return err })
		}
	}
	return group.Wait()
}

// judge judges a snapshot and stores what it finds while it holds writing.
func (a *app) judge(ctx context.Context, db *store.DB, evaluation *store.Evaluation, writing *sync.Mutex, set *policySet, snapshot engine.Snapshot, when time.Time, active *activeExceptions, step func()) error {
	job := eval.Job{Snapshot: snapshot, AsOf: when, Tuning: set.effective(snapshot.Workspace)}
	var err error
	if job.Previous, err = db.PreviousState(ctx, snapshot); err != nil {
		return err
	}
	if snapshot.Coverage[engine.SectionTokens].Usable() {
		job.Tokens = func(among bool) iter.Seq2[engine.Subject, error] {
			return counted(db.Subjects(ctx, snapshot.ID, when, among), step)
		}
	}
	if job.Except, err = active.exceptIn(ctx, set, when, job.Tuning); err != nil {
		return err
	}
	tallies, err := set.chosen.Evaluate(ctx, job, func(f engine.Finding) error {
		active.see(f)
		writing.Lock()
		defer writing.Unlock()
		return evaluation.Add(f, snapshot.ID)
	})
	if err != nil {
		return err
	}
	active.judged(snapshot, tallies)
	writing.Lock()
	defer writing.Unlock()
	for _, id := range engine.SortedKeys(tallies) {
		if err := evaluation.Tally(snapshot.ID, id, tallies[id]); err != nil {
			return err
		}
	}
	return nil
}

// asOf is the moment to judge at: the one asked for, else when the newest
// snapshot was taken, so that judging again gives the same.
func asOf(snapshots []engine.Snapshot, asked instant) time.Time {
	if !asked.IsZero() {
		return asked.Time
	}
	var newest time.Time
	for _, s := range snapshots {
		if s.CollectedAt.After(newest) {
			newest = s.CollectedAt
		}
	}
	return newest
}

func ids(snapshots []engine.Snapshot) []int64 {
	list := make([]int64, len(snapshots))
	for i, s := range snapshots {
		list[i] = s.ID
	}
	return list
}

// deliver writes the reports of an evaluation whose snapshots were found intact
// by this run, tells its receivers, and returns its verdict as an error.
func (a *app) deliver(ctx context.Context, db *store.DB, evaluation int64, formats []reports.Format, o *reportOptions, receivers []deliver.Receiver) error {
	var messages []message
	err := db.Read(ctx, func(view *store.DB) error {
		report, err := a.storedReport(ctx, view, evaluation)
		if err != nil {
			return err
		}
		if messages, err = a.messages(ctx, report, receivers); err != nil {
			return err
		}
		return a.deliverReport(ctx, view, report, formats, o, func() error { return view.IntactEvaluation(ctx, evaluation) })
	})
	if reached := (verdictError{}); err != nil && !errors.As(err, &reached) {
		return err
	}
	return cmp.Or(err, a.notify(ctx, db, messages)) // the verdict outranks a receiver that cannot be reached
}

// redeliver writes the reports of snapshots that nobody looked at since.
func (a *app) redeliver(ctx context.Context, db *store.DB, evaluation int64, formats []reports.Format, o *reportOptions) error {
	report, err := a.storedReport(ctx, db, evaluation)
	if err != nil {
		return err
	}
	return a.deliverReport(ctx, db, report, formats, o, report.Intact)
}

// deliverReport writes reports that count only if the snapshots are intact; nil:
// that is known.
func (a *app) deliverReport(ctx context.Context, db *store.DB, report engine.Report, formats []reports.Format, o *reportOptions, intact func() error) error {
	guarded := outfile.Files{}.OnlyIf(intact)
	report = report.Redacted().Pseudonymised(a.names)
	if o.output == "-" {
		err := guarded.Fill(a.env.stdout, func(w io.Writer) error { return formats[0].Write(ctx, w, report) })
		if err == nil {
			err = a.writeDelivered(ctx, report, o, func() (time.Time, error) { return lastComplete(ctx, db, report) })
		}
		if err != nil {
			return err
		}
		return verdict(report.Verdict())
	}
	files, err := a.writeFiles(ctx, report, formats, o, guarded)
	if err == nil {
		err = guarded.Ask() // nothing may have been written
	}
	if err == nil {
		err = a.writeDelivered(ctx, report, o, func() (time.Time, error) { return lastComplete(ctx, db, report) })
	}
	if err != nil {
		return err
	}
	if a.logFormat == jsonFormat && !a.quiet {
		jsonLogger(a.env.stderr).Info("run summary", "summary", summaryOf(report, files))
	}
	if !a.quiet {
		options := reports.TableOptions{Options: a.tableOptions(), All: a.verbose, Files: files, Framework: cmp.Or(o.framework, report.Framework)}
		if err := reports.Table(ctx, a.env.stdout, report, options); err != nil {
			return err
		}
	}
	return verdict(report.Verdict())
}

// runSummary is a run in one line, for those who collect logs.
type runSummary struct {
	Verdict    engine.Verdict          `json:"verdict"`
	AsOf       time.Time               `json:"as_of"`
	WhatIf     string                  `json:"what_if,omitempty"`
	Workspaces int                     `json:"workspaces"`
	Expected   int                     `json:"workspaces_expected"`
	Read       int                     `json:"workspaces_read"`
	Tokens     int                     `json:"tokens"`
	Failed     map[engine.Severity]int `json:"failed"`
	Results    engine.Tally            `json:"results"`
	Files      []string                `json:"files"`
}

func summaryOf(r engine.Report, files []string) runSummary {
	reach := r.Reach()
	s := runSummary{Verdict: r.Verdict(), AsOf: r.AsOf.UTC(), WhatIf: r.WhatIf, Workspaces: r.Summary.Workspaces, Expected: reach.Expected, Read: reach.Read,
		Tokens: r.Summary.Tokens, Failed: map[engine.Severity]int{}, Results: r.Summary.Statuses, Files: append([]string{}, files...)}
	for _, severity := range engine.Severities() {
		s.Failed[severity] = r.Summary.Failed(severity)
	}
	return s
}

func (a *app) writeFiles(ctx context.Context, report engine.Report, formats []reports.Format, o *reportOptions, files outfile.Files) ([]string, error) {
	if len(formats) == 0 {
		return nil, nil
	}
	defer func() { a.tellExposed(o.folder()) }()
	step, end := a.stage("writing reports", "row", 0)
	defer end()
	report.Findings, report.Tokens = counted(report.Findings, step), counted(report.Tokens, step)
	if o.output == "" {
		return reports.WriteAll(ctx, o.dir, formats, report, files)
	}
	return []string{o.output}, files.Write(o.output, func(w io.Writer) error { return formats[0].Write(ctx, w, report) })
}

// plural renders a count with its noun.
func plural(n int, noun string) string { return engine.Plural(n, noun) }
