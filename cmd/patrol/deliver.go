package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports/deliver"
)

// message is what a receiver of the configuration is to be told.
type message struct {
	to   deliver.Receiver
	text deliver.Message
}

// receivers are told of a run; none of what would be.
func (a *app) receivers(o *reportOptions) ([]deliver.Receiver, error) {
	if o.noNotify {
		return nil, nil
	}
	return a.config.Receivers(a.env.lookup)
}

// messages are what a run tells its receivers.
func (a *app) messages(ctx context.Context, report engine.Report, receivers []deliver.Receiver) (list []message, err error) {
	if report.WhatIf != "" {
		return nil, nil
	}
	report = report.Redacted().Pseudonymised(a.names)
	for i, receiver := range receivers {
		configured := a.config.Notify[i]
		least := configured.MinSeverity
		if least == "" {
			least = engine.Info
		}
		text, err := deliver.NewMessage(ctx, report, least)
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

// notify sends each message once: that it will be sent is on disk before it is.
func (a *app) notify(ctx context.Context, db *store.DB, messages []message) error {
	var failures []error
	for _, m := range messages {
		before, err := db.BeginDelivery(ctx, m.text.Run, m.to.Name)
		if err != nil {
			return err
		}
		switch {
		case before == store.DeliverySent:
			a.say("%s was told of this run already", m.to.Name)
			continue
		case before == store.DeliveryUncertain && !m.to.Repeatable():
			a.say("%s is not told again: whether the message about this run arrived is not known", m.to.Name)
			continue
		}
		err = m.to.Send(ctx, m.text)
		switch {
		case err == nil:
			if err := db.EndDelivery(ctx, m.text.Run, m.to.Name); err != nil {
				return err
			}
			a.say("told %s: %s, %s", m.to.Name, m.text.Verdict, plural(m.text.NewCount, "new finding"))
			continue
		case !errors.Is(err, deliver.ErrUncertain):
			if err := db.ForgetDelivery(context.WithoutCancel(ctx), m.text.Run, m.to.Name); err != nil {
				return err
			}
		}
		a.tell(a.env.stderr, engine.Pseudonymised(a.names, fmt.Sprintf("%s was not told: %v", m.to.Name, err))) // also with -q: the verdict may outrank it
		failures = append(failures, fmt.Errorf("%s: %w", m.to.Name, err))
	}
	if failures == nil {
		return nil
	}
	return &engine.Error{Class: engine.ClassStorage, Reason: "delivery", Op: "notify", Hint: "The audit itself is complete and stored. `patrol evaluate` sends what certainly did not arrive.", Err: errors.Join(failures...)}
}

// writeDelivered writes metrics and tickets of a report that is intact.
func (a *app) writeDelivered(ctx context.Context, report engine.Report, o *reportOptions, complete func() (time.Time, error)) error {
	if o.metrics == "" && o.tickets == "" {
		return nil
	}
	if report.WhatIf != "" {
		return engine.UsageError("write", "--metrics, --tickets", "Leave them out: this says what would be.", errors.New("metrics and tickets are of what is"))
	}
	if o.metrics != "" {
		last, err := complete()
		if err != nil {
			return err
		}
		err = outfile.Files{}.Write(o.metrics, func(w io.Writer) error { return deliver.Metrics(ctx, w, report, last) })
		if err != nil {
			return err
		}
	}
	if o.tickets == "" {
		return nil
	}
	template, err := deliver.ParseTicket(a.config.Tickets.Template)
	if err != nil {
		return err
	}
	least := a.config.Tickets.MinSeverity
	if least == "" {
		least = engine.Info
	}
	n, err := deliver.Tickets(ctx, o.tickets, report, template, least, outfile.Files{})
	if err == nil {
		a.say("%s in %s", plural(n, "ticket"), o.tickets)
	}
	return err
}

// lastComplete is as of when the last evaluation judged, this one included, that
// could read and judge everything; zero where none did.
func lastComplete(ctx context.Context, db *store.DB, report engine.Report) (time.Time, error) {
	if report.Verdict() != engine.Incomplete {
		return report.AsOf, nil
	}
	list, err := db.Evaluations(ctx)
	if err != nil {
		return time.Time{}, err
	}
	for _, e := range list {
		if e.WhatIf != "" || e.AsOf.After(report.AsOf) {
			continue
		}
		before, err := db.Report(ctx, e.ID)
		if err != nil {
			return time.Time{}, err
		}
		if before.Verdict() != engine.Incomplete {
			return before.AsOf, nil
		}
	}
	return time.Time{}, nil
}
