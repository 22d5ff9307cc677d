package collectors

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"patrol/engine"
)

const reasonContradicts = "contradicts_list"

const (
	mostPage  = 20_000 // tokens that one query answers
	leastPage = 100
	hintNoRow = "Query the table in a workspace of the same region: usage: {warehouse: ID, profile: NAME}. The table has the events of its own region, and the first ones come hours after the schema was enabled."
)

// usageReader is the client that runs the queries, and their parameters.
func (c *Client) usageReader(ctx context.Context) (*Client, []parameter, *Problem) {
	id := c.identity().ID
	if id == "" {
		c := notInExport("", "", "")
		return nil, nil, problemOf(c.Reason, c.Hint, "%s", c.Detail)
	}
	c.event(Event{Kind: EventNote, Reason: "usage", Detail: "reads the audit log by a query of SQL warehouse " + c.o.Usage.Warehouse})
	parameters := []parameter{{"days", strconv.Itoa(c.o.Usage.Days), "INT"}, {"workspace_id", id, "STRING"}}
	if c.o.Usage.Profile == "" {
		return c, parameters, nil
	}
	reader, problem := signIn(ctx, Target{Profile: c.o.Usage.Profile, ConfigFile: c.o.Usage.ConfigFile}, c.o, c.http.Transport.(readOnly).next)
	if problem != nil {
		problem.Detail = "usage.profile " + c.o.Usage.Profile + ": " + problem.Detail
		problem.fatal = false // of this workspace, all else can be read
		return nil, nil, problem
	}
	reader.section = c.section
	return reader, parameters, nil
}

func (c *Client) noEvents() engine.Coverage {
	return engine.Coverage{Status: engine.Failed, Reason: reasonNoRows, Hint: hintNoRow,
		Detail: fmt.Sprintf("system.access.audit has no event of workspace %s in the last %d days", engine.SafeText(c.identity().ID), c.o.Usage.Days)}
}

// readUsage reads how tokens are used, page by page: a result is bounded in
// bytes. Rows are kept as they are to be stored.
func (c *Client) readUsage(ctx context.Context) engine.Section {
	reader, parameters, problem := c.usageReader(ctx)
	if problem != nil {
		return failed(problem)
	}
	kept := newSpool(c.o.SpoolDir, tokensLimit)
	out := bufio.NewWriter(kept)
	encoder := gob.NewEncoder(out)
	log := AuditLog{workspaces: map[string]*logStats{}}
	for after, page := "", mostPage; ; {
		last, tokens := after, 0
		began := kept.size + int64(out.Buffered())
		_, problem := reader.query(ctx, usageTokens(), append(parameters, parameter{"after", after, "STRING"}, parameter{"page", strconv.Itoa(page), "INT"}), func(r record) error {
			row, err := readLogRow(r)
			switch {
			case err != nil:
				return err
			case row.workspace != c.identity().ID:
				return fmt.Errorf("row %d is of workspace %s, which was not asked for", r.line, engine.SafeText(row.workspace))
			case row.TokenID == wholeLog:
				log.count(row)
				return nil
			case row.TokenID <= last:
				return fmt.Errorf("row %d: token %s is out of order", r.line, engine.SafeText(row.TokenID))
			}
			log.count(row)
			last = row.TokenID
			tokens++
			return encoder.Encode(row.Activity)
		})
		if problem != nil && problem.Reason == reasonTooLarge && page > leastPage && kept.size+int64(out.Buffered()) == began {
			page /= 4
			continue
		}
		if problem != nil {
			discard(kept)
			return failed(problem)
		}
		if after = last; tokens < page {
			break
		}
	}
	if err := out.Flush(); err != nil {
		discard(kept)
		return failed(problemOf(reasonSpool, "Make room for temporary files, or name another directory for them.", "keep the audit log: %s", err))
	}
	c.session.keep(kept)
	section := log.section(c.identity().ID, c.now())
	if section.Coverage.Reason == reasonNoRows {
		section.Coverage = c.noEvents()
	}
	if section.Coverage.Reason == reasonFutureEvents {
		return section
	}
	if stats := log.workspaces[c.identity().ID]; stats != nil {
		if text := contradiction(stats.LogSpan, c.session.rows, keptActivity(kept)); text != "" {
			return failed(implausible(reasonContradicts, "%s", text))
		}
	}
	section.Activity = keptActivity(kept)
	return section
}

func keptActivity(kept *spool) iter.Seq2[engine.Activity, error] {
	return func(yield func(engine.Activity, error) bool) {
		decoder := gob.NewDecoder(kept.Reader())
		for {
			var a engine.Activity
			err := decoder.Decode(&a)
			if errors.Is(err, io.EOF) || !yield(a, err) || err != nil {
				return
			}
		}
	}
}

// contradiction holds the log against the list of tokens, both by token id: where
// they tell differently of many tokens, one of the two is about something else.
func contradiction(span engine.LogSpan, list []rowRef, log iter.Seq2[engine.Activity, error]) string {
	next, stop := iter.Pull2(log)
	defer stop()
	a, err, more := next()
	known := engine.Known{LogRead: true, LogFirst: span.First, LogLast: span.Last}
	used, lacks, later := 0, 0, 0
	for _, row := range list {
		id := strings.TrimRight(string(row.prefix[:]), "\x00")
		begins := func() string { return a.TokenID[:min(len(a.TokenID), len(row.prefix))] }
		for more && err == nil && begins() < id {
			a, err, more = next()
		}
		if err != nil {
			return "" // whoever reads it next reports it
		}
		var found *engine.Activity
		if more && begins() == id {
			found = &a
		}
		t := engine.Token{}
		if row.used > neverUsed {
			t.LastUsed = &row.used
		}
		if found != nil || t.LastUsed != nil && *t.LastUsed >= span.First+engine.Day {
			used++
		}
		switch {
		case known.Contradicts(&t, found):
			lacks++
		case found != nil && found.Detail != nil && found.Detail.Succeeded > 0 && row.used != useUnknown && found.Last >= row.used+3*engine.Day:
			later++
		}
	}
	if n := lacks + later; n < 3 || 10*n < used {
		return ""
	}
	return fmt.Sprintf("of %d tokens that were used, the log lacks the last use of %d, and has use of %d that the list of tokens does not know", used, lacks, later)
}
