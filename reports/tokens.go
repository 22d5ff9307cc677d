package reports

import (
	"context"
	"io"
	"iter"
	"slices"
	"time"

	"patrol/engine"
	"patrol/reports/table"
)

// tokenColumns are the columns of the population: the workbook's Tokens sheet
// and what the tokens command writes. Facts have the names that they have in
// Rego.
func tokenColumns() []table.Column[engine.TokenRow] {
	type row = engine.TokenRow
	unlessDefective := func(answer string, value func(row) any) func(row) any {
		return func(t row) any {
			if slices.ContainsFunc(t.Token.Defects, func(d engine.Defect) bool { return d.Field == answer }) {
				return table.Unknown{}
			}
			return value(t)
		}
	}
	day := func(name string, rank int) table.Column[row] {
		c := fieldColumn(name, 20)
		return c.Rank(rank, 0).As(func(t row) string { return dayText(c.Value(t)) })
	}
	return []table.Column[row]{
		table.Plain("workspace", 18, func(t row) any { return t.Workspace.Name }).Rank(4, 12),
		table.ID("workspace_id", 20, func(t row) any { return t.Workspace.ID }),
		table.ID("token_id", 24, func(t row) any { return t.Token.ID }).Rank(1, 0).As(func(t row) string { return shortID(t.Token.ID) }),
		table.Plain("comment", 34, unlessDefective("comment", func(t row) any { return t.Token.Comment })).Rank(7, 16).AtEnd(),
		table.Plain("owner", 28, func(t row) any { return orUnknown(t.Owner.Label()) }).Rank(2, 18).As(func(t row) string { return ownerText(t.Owner) }),
		table.ID("owner_id", 20, func(t row) any { return orUnknown(t.Owner.ID) }),
		table.Plain("owner_kind", 17, func(t row) any { return orUnknown(string(t.Owner.Kind)) }),
		table.Plain("owner_active", 13, func(t row) any { return knownTruth(t.Owner.Active) }),
		table.Plain("owner_account_status", 20, func(t row) any {
			if t.Owner.Account == nil { // the workspace knows the owner, or no account could tell
				return nil
			}
			return string(t.Owner.Account.Status)
		}),
		table.Plain("owner_admin", 13, func(t row) any { return knownTruth(t.Owner.Admin) }),
		table.Number("owner_live_tokens", 18, func(t row) any {
			if t.Owner.ID == "" {
				return table.Unknown{}
			}
			return t.Owner.LiveTokens
		}),
		table.Plain("creator", 28, func(t row) any { return orUnknown(t.Creator.Label()) }),
		table.ID("creator_id", 20, func(t row) any { return orUnknown(t.Creator.ID) }),
		fieldColumn("on_behalf", 11),
		day("created_at", 6),
		day("expires_at", 3),
		day("last_used_at", 5),
		fieldColumn("age_days", 10),
		fieldColumn("lifetime_days", 14),
		fieldColumn("idle_days", 10),
		fieldColumn("expires_in_days", 16),
		fieldColumn("used", 8),
		fieldColumn("never_expires", 14),
		fieldColumn("expired", 10),
		fieldColumn("scopes", 24),
		table.Plain("autoscope_state", 16, unlessDefective("autoscope_state", func(t row) any {
			if state := engine.AutoscopeState(t.Token.AutoscopeState); state != nil {
				return *state
			}
			return t.Token.AutoscopeState
		})),
		fieldColumn("inferred_scopes", 24),
		fieldColumn("backfill_scopes", 24),
		table.Plain("defects", 30, func(t row) any {
			return table.Map(t.Token.Defects, func(d engine.Defect) string {
				if d.Value == "" {
					return d.Field + ": " + d.Reason
				}
				return d.Field + ": " + d.Reason + " (" + d.Value + ")"
			})
		}),
		table.Plain("unknown_facts", 24, func(t row) any { return t.Facts.Unknown }),
	}
}

// fieldColumn is a column of a field of tokens, read as policies read it. A time that is
// known and not there never comes, or never came.
func fieldColumn(name string, width float64) table.Column[engine.TokenRow] {
	fields := engine.Fields()
	f := fields[slices.IndexFunc(fields, func(f engine.Field) bool { return f.Name == name })]
	c := table.Plain(name, width, func(t engine.TokenRow) any {
		switch s := &t.Subject; {
		case f.Unknown(s, engine.Known{}):
			return table.Unknown{}
		case f.Texts != nil:
			return f.Texts(s)
		case f.Truth != nil:
			return optional(f.Truth(s))
		case f.Number != nil:
			return optional(f.Number(s))
		case f.Time(s) == nil:
			return table.Never{}
		default:
			return table.Instant(*f.Time(s))
		}
	})
	switch {
	case f.Number != nil:
		c.Kind = table.KindNumber
	case f.Time != nil:
		c.Kind = table.KindDate
	}
	return c
}

func orUnknown(word string) any {
	if word == "" {
		return table.Unknown{}
	}
	return word
}

// knownTruth tells a value that could not be read from one that was.
func knownTruth(value *bool) any {
	if value == nil {
		return table.Unknown{}
	}
	return *value
}

// optional tells a value that does not apply from one that does.
func optional[T any](value *T) any {
	if value == nil {
		return nil
	}
	return *value
}

// Tokens writes tokens as a table, CSV or JSON, with the columns of the workbook's
// Tokens sheet. Where nothing applies a cell is empty, and null in JSON; where a
// fact could not be derived it is so, too, and the last column names it.
func Tokens(ctx context.Context, w io.Writer, format string, rows iter.Seq2[engine.TokenRow, error], o table.Options) error {
	o.Noun = "token"
	return table.Write(ctx, w, format, tokenColumns(), rows, o)
}

// ownerText marks owners that can no longer answer for their tokens.
func ownerText(p engine.Party) string {
	switch {
	case p.ID == "" && p.Name == "":
		return "unknown"
	case p.Kind == engine.Missing && p.Account != nil:
		return "missing (account: " + string(p.Account.Status) + "): " + p.Label()
	case p.Kind == engine.Missing:
		return "missing: " + p.Label()
	case p.Active != nil && !*p.Active:
		return "inactive: " + p.Label()
	}
	return p.Label()
}

func dayText(value any) string {
	switch v := value.(type) {
	case table.Instant:
		return time.UnixMilli(int64(v)).UTC().Format(time.DateOnly)
	case table.Never:
		return "never"
	}
	return "unknown"
}

// History is what is told of a token, oldest first.
type History struct {
	Workspace   string              `json:"workspace"`
	WorkspaceID string              `json:"workspace_id"`
	TokenID     string              `json:"token_id"`
	Events      []engine.TokenEvent `json:"events"`
}

// HistoryTable writes histories for a reader at a terminal.
func HistoryTable(w io.Writer, told []History, o table.Options) error {
	s := newScreen(w, o)
	for i, h := range told {
		if i > 0 {
			s.Line("")
		}
		s.Styled(table.Bold, h.TokenID)
		s.Line("in " + h.Workspace + " (" + h.WorkspaceID + ")")
		rows := [][]string{}
		for _, e := range h.Events {
			rows = append(rows, []string{"  " + time.UnixMilli(e.At).UTC().Format(time.RFC3339), e.What, e.Detail})
		}
		s.Told(rows, 22, 12)
	}
	return s.Flush()
}
