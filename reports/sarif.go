package reports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"patrol/engine"
	"patrol/reports/table"
)

// SARIF is the findings for code scanning.
func (catalogue) SARIF() Format {
	return Format{
		Name:  "sarif",
		File:  "audit.sarif",
		Doc:   "SARIF 2.1.0 for code scanning; audit-2.sarif and so on beyond what one upload takes",
		Write: writeSARIF,
		Parts: func(ctx context.Context, r engine.Report) iter.Seq[Part] { return sarifParts(ctx, r, codeScanning()) },
	}
}

// sarifLimits is what a reader takes of one file.
type sarifLimits struct {
	results int   // per run
	runs    int   // per file
	packed  int64 // bytes of the file once compressed
}

// codeScanning are the limits of GitHub. It takes 25,000 results a run and
// shows the first 5,000 of them: runs of 5,000 lose none. It takes 10 MB of
// gzip; ours are counted with the fastest and so largest compression.
func codeScanning() sarifLimits { return sarifLimits{results: 5_000, runs: 20, packed: 9_500_000} }

func writeSARIF(ctx context.Context, w io.Writer, r engine.Report) error {
	return writeSARIFWithin(ctx, w, r, codeScanning())
}

// writeSARIFWithin writes the first part and tells in it how many results are
// left out.
func writeSARIFWithin(ctx context.Context, w io.Writer, r engine.Report, limits sarifLimits) error {
	s, err := newSARIF(ctx, r, limits)
	if err != nil {
		return err
	}
	defer s.stop()
	return s.file(w, s.leaveOut)
}

// sarifParts writes all results, in as many files as they need.
func sarifParts(ctx context.Context, r engine.Report, limits sarifLimits) iter.Seq[Part] {
	return func(yield func(Part) bool) {
		s, err := newSARIF(ctx, r, limits)
		if err != nil {
			yield(func(io.Writer) error { return err })
			return
		}
		defer s.stop()
		for more := true; more; more = s.pending != nil {
			if !yield(func(w io.Writer) error { return s.file(w, s.continueElsewhere) }) {
				return
			}
		}
	}
}

// sarifLog is a log in the making, over all its files.
type sarifLog struct {
	sarifLimits
	ctx    context.Context
	report engine.Report
	tool   sarifTool
	rules  map[string]int // index by policy
	places []place        // of each rule

	next    func() (engine.Finding, error, bool)
	stop    func()
	pending *engine.Finding // read, not yet written

	runs    int // written, over all files
	results int
	files   int
}

func newSARIF(ctx context.Context, r engine.Report, limits sarifLimits) (*sarifLog, error) {
	s := &sarifLog{sarifLimits: limits, ctx: ctx, report: r, rules: map[string]int{}}
	s.tool = sarifDriver(r)
	for i, p := range r.Policies {
		s.rules[p.Policy.ID] = i
		s.places = append(s.places, placeOf(p.Policy))
	}
	s.next, s.stop = iter.Pull2(r.Findings)
	if err := s.advance(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// advance reads the next finding that is a result. What could not be judged is
// none: it is a notification of the first run.
func (s *sarifLog) advance() error {
	s.pending = nil
	for {
		f, err, ok := s.next()
		if err = errors.Join(s.ctx.Err(), err); err != nil {
			return err
		}
		if !ok {
			return nil
		}
		if !f.Status.Judged() {
			continue
		}
		if _, known := s.rules[f.Policy]; !known {
			return fmt.Errorf("finding of policy %q, which is no part of the report", f.Policy)
		}
		s.pending = &f
		return nil
	}
}

// file writes one log, and what the last run says of the results that do not
// fit.
func (s *sarifLog) file(w io.Writer, rest func() ([]sarifNotification, error)) error {
	s.files++
	meter := newPackMeter()
	out := table.NewJSONWriter(io.MultiWriter(w, meter))
	out.Open("{")
	if err := out.Member("  ", "$schema", "https://json.schemastore.org/sarif-2.1.0.json"); err != nil {
		return err
	}
	if err := out.Member("  ", "version", "2.1.0"); err != nil {
		return err
	}
	out.Key("  ", "runs")
	out.Open("[")
	full := func() bool { return meter.packed >= s.packed }
	for run := 0; run == 0 || s.pending != nil && run < s.sarifLimits.runs && !full(); run++ {
		if err := s.run(out, run == s.sarifLimits.runs-1, full, rest); err != nil {
			return err
		}
	}
	out.Close("  ", "]")
	out.Close("", "}")
	return out.End()
}

// run writes one run.
func (s *sarifLog) run(out *table.JSONWriter, last bool, full func() bool, rest func() ([]sarifNotification, error)) error {
	s.runs++
	out.Next("    ")
	out.Open("{")
	if err := errors.Join(out.Member("      ", "tool", s.tool), out.Member("      ", "automationDetails", automation(s.report, s.runs)), out.Member("      ", "language", sarifLanguage)); err != nil {
		return err
	}
	out.Key("      ", "results")
	out.Open("[")
	for n := 0; s.pending != nil && n < s.sarifLimits.results && !full(); n++ {
		out.Next("        ")
		if err := out.Value(s.result(*s.pending)); err != nil {
			return err
		}
		s.results++
		if err := s.advance(); err != nil {
			return err
		}
	}
	out.Close("      ", "]")
	told, err := s.told(last || full(), rest)
	if err != nil {
		return err
	}
	if err := out.Member("      ", "invocations", []sarifInvocation{told}); err != nil {
		return err
	}
	out.Close("    ", "}")
	return nil
}

// told is what a run says of the audit itself.
func (s *sarifLog) told(last bool, rest func() ([]sarifNotification, error)) (sarifInvocation, error) {
	told := sarifInvocation{Successful: s.report.Verdict() != engine.Incomplete, Notifications: []sarifNotification{}}
	if s.runs == 1 {
		told.Notifications = append(told.Notifications, s.unjudged()...)
		told.Notifications = append(told.Notifications, s.unread()...)
	}
	if s.pending == nil || !last {
		return told, nil
	}
	more, err := rest()
	told.Notifications = append(told.Notifications, more...)
	return told, err
}
