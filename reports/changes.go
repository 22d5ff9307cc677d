package reports

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"patrol/engine"
)

// changeColumns are the columns of what changed between two snapshots.
func changeColumns() []column[engine.ChangeRow] {
	type row = engine.ChangeRow
	return []column[row]{
		{"workspace", plain, 18, func(r row) any { return r.Workspace.Name }},
		{"workspace_id", identifier, 20, func(r row) any { return r.Workspace.ID }},
		{"from_snapshot", number, 10, func(r row) any { return r.From }},
		{"to_snapshot", number, 10, func(r row) any { return r.To }},
		{"change", plain, 10, func(r row) any { return string(r.Kind) }},
		{"object", plain, 12, func(r row) any { return r.Object }},
		{"id", identifier, 24, func(r row) any { return r.ID }},
		{"name", plain, 30, func(r row) any { return r.Label }},
		{"owner", plain, 28, func(r row) any { return r.Owner }},
		{"owner_id", identifier, 20, func(r row) any { return r.OwnerID }},
		{"fields", plain, 20, func(r row) any { return r.Fields }},
		{"before", plain, 30, func(r row) any { return r.Before }},
		{"after", plain, 30, func(r row) any { return r.After }},
		{"cause", plain, 18, func(r row) any { return string(r.Cause) }},
		{"detail", plain, 40, func(r row) any { return r.Detail }},
		{"changed_by", plain, 40, func(r row) any { return r.ChangedBy }},
		{"created_at", date, 20, ofToken(func(t *engine.Token) any { return moment(t.Created) })},
		{"expires_at", date, 20, ofToken(func(t *engine.Token) any { return expiry(t.Expires) })},
		{"last_used_at", date, 20, ofToken(func(t *engine.Token) any { return lastUse(t.LastUsed) })},
	}
}

func ofToken(value func(*engine.Token) any) func(engine.ChangeRow) any {
	return func(r engine.ChangeRow) any {
		if r.Token == nil {
			return nil
		}
		return value(r.Token)
	}
}

func expiry(ms *int64) any {
	switch {
	case ms == nil:
		return unknown{}
	case *ms == engine.NeverExpires:
		return never{}
	}
	return instant(*ms)
}

func lastUse(ms *int64) any {
	if ms == nil {
		return never{}
	}
	return instant(*ms)
}

// ChangesCSV writes changes as CSV.
func ChangesCSV(ctx context.Context, w io.Writer, rows iter.Seq2[engine.ChangeRow, error]) error {
	return writeRows(ctx, w, changeColumns(), rows)
}

// ChangesJSON writes changes as a list of objects, one a line, with the keys
// that ChangesCSV has as columns.
func ChangesJSON(ctx context.Context, w io.Writer, rows iter.Seq2[engine.ChangeRow, error]) error {
	return writeObjects(ctx, w, changeColumns(), rows)
}

// ChangesTable writes changes for a reader at a terminal, workspace by workspace.
func ChangesTable(ctx context.Context, w io.Writer, rows iter.Seq2[engine.ChangeRow, error], o TableOptions) error {
	t := &changesTable{screen: newScreen(w, o), counts: map[string]int{}}
	if err := each(ctx, rows, t.add); err != nil {
		return err
	}
	t.sum()
	return t.flush()
}

type changesTable struct {
	*screen
	at     string // workspace
	counts map[string]int
}

func (t *changesTable) add(r engine.ChangeRow) error {
	if r.Workspace.Name != t.at {
		t.sum()
		t.at = r.Workspace.Name
		t.styled(bold, r.Workspace.Name)
	}
	t.counts[string(r.Kind)+" "+r.Object]++
	t.line(fmt.Sprintf("  %-8s  %s", r.Kind, changeText(r)))
	if r.ChangedBy != "" {
		t.wrap("            ", r.ChangedBy)
	}
	return nil
}

func changeText(r engine.ChangeRow) string {
	subject := r.Object
	switch {
	case r.Object == "token":
		subject += " " + shortID(r.ID) + " of " + orWord(r.Owner, "unknown owner")
	case r.ID != "":
		subject += " " + orWord(r.Label, r.ID)
	}
	switch {
	case r.Cause != "":
		return subject + ": " + strings.ReplaceAll(string(r.Cause), "_", " ") + ", " + r.Detail
	case r.Before != "" || r.After != "":
		return subject + ": " + r.Before + " → " + r.After
	case r.Token != nil && r.Label != "":
		return subject + ": " + r.Label
	}
	return subject
}

func orWord(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// sum counts what changed in the workspace that ends.
func (t *changesTable) sum() {
	if t.at == "" {
		return
	}
	var texts []string
	for _, key := range engine.SortedKeys(t.counts) {
		kind, object, _ := strings.Cut(key, " ")
		texts = append(texts, fmt.Sprintf("%s %s", plural(t.counts[key], strings.TrimSuffix(object, "s")), kind))
	}
	t.line("  " + strings.Join(texts, ", ") + ".")
	t.at, t.counts = "", map[string]int{}
}
