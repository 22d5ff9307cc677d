package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports"
	"patrol/reports/deliver"
)

// Output says what is written of an evaluation, and where.
type Output struct {
	Formats []reports.Format // may be none
	Dir     string           // for all formats
	Path    string           // for the one format instead; "-" is Stdout
	Stdout  io.Writer
	Metrics string // file of OpenMetrics; "": none
	Tickets string // directory of tickets; "": none

	// Written is called with the files of an intact report.
	Written func(ctx context.Context, report engine.Report, files []string) error
	// Show shows a report on the terminal, with the files that were written of it;
	// not called where the report itself goes to Stdout.
	Show func(ctx context.Context, report engine.Report, files []string) error
}

// Evaluation is the report of an evaluation; 0 means the latest of what is. It
// says so when it is one of what would be.
func (r *Run) Evaluation(ctx context.Context, db *store.DB, id int64) (engine.Report, error) {
	if id == 0 {
		latest, err := db.LatestEvaluation(ctx)
		if err != nil {
			return engine.Report{}, err
		}
		id = latest
	}
	report, err := db.Report(ctx, id)
	if text := reports.WhatIf(report); err == nil && text != "" {
		r.Log.Say("%s", text)
	}
	return report, err
}

// Deliver writes the reports of an evaluation whose snapshots were found intact
// by this run, and sends its messages.
func (r *Run) Deliver(ctx context.Context, db *store.DB, evaluation int64, o *Output, receivers []deliver.Receiver) (engine.Verdict, error) {
	var messages []message
	var verdict engine.Verdict
	err := db.Read(ctx, func(view *store.DB) error {
		report, err := r.Evaluation(ctx, view, evaluation)
		if err != nil {
			return err
		}
		if messages, err = r.messages(ctx, report, receivers); err != nil {
			return err
		}
		verdict, err = r.WriteReport(ctx, view, report, o, func() error { return view.IntactEvaluation(ctx, evaluation) })
		return err
	})
	if err != nil {
		return verdict, err
	}
	err = r.notify(ctx, db, messages)
	if known, ok := engine.AsError(err); ok && known.Reason == reasonDelivery && verdict != engine.Clean {
		return verdict, nil // the verdict outranks a receiver that cannot be reached, which the log says
	}
	return verdict, err
}

// WriteReport writes a report that counts only if it is intact.
func (r *Run) WriteReport(ctx context.Context, db *store.DB, report engine.Report, o *Output, intact func() error) (engine.Verdict, error) {
	guarded := outfile.Files{}.OnlyIf(intact)
	report = report.Redacted().Pseudonymised(r.Names)
	verdict := report.Verdict()
	write := func(w io.Writer) error { return o.Formats[0].Write(ctx, w, report) }
	var files []string
	var err error
	if o.Path == "-" {
		err = guarded.Fill(o.Stdout, write)
	} else if len(o.Formats) > 0 {
		shown := report
		step, end := r.Log.Stage("writing reports", "row", 0)
		report.Findings, report.Tokens = counted(report.Findings, step), counted(report.Tokens, step)
		folder := o.Dir
		if o.Path == "" {
			files, err = reports.WriteAll(ctx, o.Dir, o.Formats, report, guarded)
		} else {
			folder, files = filepath.Dir(o.Path), []string{o.Path}
			err = guarded.Write(o.Path, write)
		}
		end()
		r.WarnExposed(folder)
		report = shown
	}
	if err == nil && len(files) == 0 && o.Path != "-" {
		err = guarded.Ask() // nothing was written
	}
	if err == nil {
		err = r.writeMetricsAndTickets(ctx, db, report, o)
	}
	if err == nil {
		err = o.Written(ctx, report, files)
	}
	if err == nil && o.Path != "-" {
		err = o.Show(ctx, report, files)
	}
	return verdict, err
}

// writeMetricsAndTickets writes metrics and tickets of a report that is intact.
func (r *Run) writeMetricsAndTickets(ctx context.Context, db *store.DB, report engine.Report, o *Output) error {
	if o.Metrics == "" && o.Tickets == "" {
		return nil
	}
	if report.WhatIf != "" {
		return RefuseWhatIf()
	}
	if o.Metrics != "" {
		last := report.AsOf // of the last evaluation that could read and judge everything; zero where none did
		if report.Verdict() == engine.Incomplete {
			last = time.Time{}
			list, err := db.Evaluations(ctx) // newest first
			if err != nil {
				return err
			}
			for _, e := range list {
				if !last.IsZero() || e.WhatIf != "" || e.AsOf.After(report.AsOf) {
					continue
				}
				before, err := db.Report(ctx, e.ID)
				if err != nil {
					return err
				}
				if before.Verdict() != engine.Incomplete {
					last = before.AsOf
				}
			}
		}
		if err := outfile.Write(o.Metrics, func(w io.Writer) error { return deliver.Metrics(ctx, w, report, last) }); err != nil {
			return err
		}
	}
	if o.Tickets == "" {
		return nil
	}
	template, err := deliver.ParseTicket(r.Config.Tickets.Template)
	if err != nil {
		return err
	}
	open, closed, err := deliver.Tickets(ctx, o.Tickets, report, template, cmp.Or(r.Config.Tickets.MinSeverity, engine.Info))
	if err == nil {
		r.Log.Say("%s in %s, %s closed", engine.Plural(open, "ticket"), o.Tickets, engine.Comma(closed))
	}
	return err
}

// RefuseWhatIf is the refusal of metrics and tickets of what would be.
func RefuseWhatIf() error {
	return engine.UsageError("write", "--metrics, --tickets", "Leave them out: this says what would be.", errors.New("metrics and tickets are of what is"))
}

// message is for one receiver of the configuration.
type message struct {
	to   deliver.Receiver
	text deliver.Message
}

// messages are those about a run; a what-if run sends none.
func (r *Run) messages(ctx context.Context, report engine.Report, receivers []deliver.Receiver) (list []message, err error) {
	if report.WhatIf != "" {
		return nil, nil
	}
	report = report.Redacted().Pseudonymised(r.Names)
	for i, receiver := range receivers {
		configured := r.Config.Notify[i]
		text, err := deliver.NewMessage(ctx, report, cmp.Or(configured.MinSeverity, engine.Info))
		if err != nil {
			return nil, err
		}
		if configured.When == "new" && text.NewCount == 0 && text.Verdict != engine.Incomplete {
			continue
		}
		list = append(list, message{receiver, text})
	}
	return list, nil
}

const reasonDelivery = "delivery"

// notify sends each message once: that it will be sent is on disk before it is.
func (r *Run) notify(ctx context.Context, db *store.DB, messages []message) error {
	var failures []error
	for _, m := range messages {
		before, err := db.BeginDelivery(ctx, m.text.Run, m.to.Name)
		if err != nil {
			return err
		}
		switch {
		case before == store.DeliverySent:
			r.Log.Say("%s was told of this run already", m.to.Name)
			continue
		case before == store.DeliveryUncertain && !m.to.Repeatable():
			r.Log.Say("%s is not told again: whether the message about this run arrived is not known", m.to.Name)
			continue
		}
		err = m.to.Send(ctx, m.text)
		switch {
		case err == nil:
			if err := db.EndDelivery(ctx, m.text.Run, m.to.Name); err != nil {
				return err
			}
			r.Log.Say("told %s: %s, %s", m.to.Name, m.text.Verdict, engine.Plural(m.text.NewCount, "new finding"))
			continue
		case !errors.Is(err, deliver.ErrUncertain):
			if err := db.ForgetDelivery(context.WithoutCancel(ctx), m.text.Run, m.to.Name); err != nil {
				return err
			}
		}
		r.Log.Alert(engine.Pseudonymised(r.Names, fmt.Sprintf("%s was not told: %v", m.to.Name, err))) // also with -q: the verdict may outrank it
		failures = append(failures, fmt.Errorf("%s: %w", m.to.Name, err))
	}
	if failures == nil {
		return nil
	}
	return &engine.Error{Class: engine.ClassStorage, Reason: reasonDelivery, Op: "notify", Hint: "The audit itself is complete and stored. `patrol evaluate` sends what certainly did not arrive.", Err: errors.Join(failures...)}
}
