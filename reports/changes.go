package reports

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// changeColumns are the columns of what changed between two snapshots.
func changeColumns() []table.Column[engine.ChangeRow] {
	type row = engine.ChangeRow
	return []table.Column[row]{
		table.Plain("workspace", 18, func(r row) any { return r.Workspace.Name }),
		table.ID("workspace_id", 20, func(r row) any { return r.Workspace.ID }),
		table.Number("from_snapshot", 10, func(r row) any { return r.From }),
		table.Number("to_snapshot", 10, func(r row) any { return r.To }),
		table.Plain("change", 10, func(r row) any { return string(r.Kind) }),
		table.Plain("object", 12, func(r row) any { return r.Object }),
		table.ID("id", 24, func(r row) any { return r.ID }),
		table.Plain("name", 30, func(r row) any { return r.Label }),
		table.Plain("owner", 28, func(r row) any { return r.Owner }),
		table.ID("owner_id", 20, func(r row) any { return r.OwnerID }),
		table.Plain("fields", 20, func(r row) any { return r.Fields }),
		table.Plain("before", 30, func(r row) any { return r.Before }),
		table.Plain("after", 30, func(r row) any { return r.After }),
		table.Plain("cause", 18, func(r row) any { return string(r.Cause) }),
		table.Plain("detail", 40, func(r row) any { return r.Detail }),
		table.Plain("changed_by", 40, func(r row) any { return r.ChangedBy }),
		table.Date("created_at", 20, ofToken(func(t *engine.Token) any {
			if t.Created == nil {
				return table.Unknown{}
			}
			return table.Instant(*t.Created)
		})),
		table.Date("expires_at", 20, ofToken(func(t *engine.Token) any {
			switch {
			case t.Expires == nil:
				return table.Unknown{}
			case *t.Expires == engine.NeverExpires:
				return table.Never{}
			}
			return table.Instant(*t.Expires)
		})),
		table.Date("last_used_at", 20, ofToken(func(t *engine.Token) any { return lastUse(t.LastUsed) })),
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

func lastUse(ms *int64) any {
	if ms == nil {
		return table.Never{}
	}
	return table.Instant(*ms)
}

// Changes writes changes as CSV, as JSON, or for a reader at a terminal, workspace
// by workspace.
func Changes(ctx context.Context, w io.Writer, format string, rows iter.Seq2[engine.ChangeRow, error], o table.Options) error {
	if format != "table" {
		return table.Write(ctx, w, format, changeColumns(), rows, o)
	}
	s := newScreen(w, o)
	at, counts := "", map[string]int{} // of the workspace
	sum := func() {
		var texts []string
		for _, key := range engine.SortedKeys(counts) {
			kind, object, _ := strings.Cut(key, " ")
			texts = append(texts, engine.Plural(counts[key], strings.TrimSuffix(object, "s"))+" "+kind)
		}
		if len(texts) > 0 {
			s.Line("  " + strings.Join(texts, ", ") + ".")
		}
		counts = map[string]int{}
	}
	err := table.Each(ctx, rows, func(r engine.ChangeRow) error {
		if r.Workspace.Name != at {
			sum()
			at = r.Workspace.Name
			s.Styled(table.Bold, at)
		}
		counts[string(r.Kind)+" "+r.Object]++
		s.Line(fmt.Sprintf("  %-8s  %s", r.Kind, changeText(r)))
		if r.ChangedBy != "" {
			s.Wrap("            ", r.ChangedBy)
		}
		return nil
	})
	if err != nil {
		return err
	}
	sum()
	return s.Flush()
}

func changeText(r engine.ChangeRow) string {
	subject := r.Object
	switch {
	case r.Object == "token":
		subject += " " + shortID(r.ID) + " of " + cmp.Or(r.Owner, "unknown owner")
	case r.ID != "":
		subject += " " + cmp.Or(r.Label, r.ID)
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
