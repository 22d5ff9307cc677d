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
	return []table.Column[row]{
		table.Plain("workspace", 18, func(t row) any { return t.Workspace.Name }).Rank(4, 12),
		table.ID("workspace_id", 20, func(t row) any { return t.Workspace.ID }),
		table.ID("token_id", 24, func(t row) any { return t.Token.ID }).Rank(1, 0).As(func(t row) string { return shortID(t.Token.ID) }),
		table.Plain("comment", 34, field("comment", func(t row) any { return t.Token.Comment })).Rank(7, 16).AtEnd(),
		table.Plain("owner", 28, func(t row) any { return wordOrUnknown(t.Owner.Label()) }).Rank(2, 18).As(func(t row) string { return ownerText(t.Owner) }),
		table.ID("owner_id", 20, func(t row) any { return wordOrUnknown(t.Owner.ID) }),
		table.Plain("owner_kind", 17, func(t row) any { return wordOrUnknown(string(t.Owner.Kind)) }),
		table.Plain("owner_active", 13, func(t row) any { return orUnknown(t.Owner.Active) }),
		table.Plain("owner_account_status", 20, ownerAccountStatus),
		table.Plain("owner_admin", 13, func(t row) any { return orUnknown(t.Owner.Admin) }),
		table.Number("owner_live_tokens", 18, ownerLiveTokens),
		table.Plain("creator", 28, func(t row) any { return wordOrUnknown(t.Creator.Label()) }),
		table.ID("creator_id", 20, func(t row) any { return wordOrUnknown(t.Creator.ID) }),
		table.Plain("on_behalf", 11, fact("on_behalf", func(t row) any { return optional(t.Facts.OnBehalf) })),
		table.Date("created_at", 20, fact("created_at", func(t row) any { return moment(t.Token.Created) })).Rank(6, 0).As(func(t row) string { return dayText(moment(t.Token.Created)) }),
		table.Date("expires_at", 20, fact("expires_at", expiresAt)).Rank(3, 0).As(func(t row) string { return dayText(fact("expires_at", expiresAt)(t)) }),
		table.Date("last_used_at", 20, fact("last_used_at", lastUsedAt)).Rank(5, 0).As(func(t row) string { return dayText(fact("last_used_at", lastUsedAt)(t)) }),
		table.Number("age_days", 10, fact("age_days", func(t row) any { return optional(t.Facts.AgeDays) })),
		table.Number("lifetime_days", 14, fact("lifetime_days", func(t row) any { return optional(t.Facts.LifetimeDays) })),
		table.Number("idle_days", 10, fact("idle_days", func(t row) any { return optional(t.Facts.IdleDays) })),
		table.Number("expires_in_days", 16, fact("expires_in_days", func(t row) any { return optional(t.Facts.ExpiresInDays) })),
		table.Plain("used", 8, fact("used", func(t row) any { return optional(t.Facts.Used) })),
		table.Plain("never_expires", 14, fact("never_expires", func(t row) any { return optional(t.Facts.NeverExpires) })),
		table.Plain("expired", 10, fact("expired", func(t row) any { return optional(t.Facts.Expired) })),
		table.Plain("scopes", 24, field("scopes", func(t row) any { return t.Token.Scopes })),
		table.Plain("autoscope_state", 16, field("autoscope_state", autoscopeState)),
		table.Plain("inferred_scopes", 24, field("inferred_scopes", func(t row) any { return t.Token.InferredScopes })),
		table.Plain("backfill_scopes", 24, field("backfill_scopes", func(t row) any { return t.Token.BackfillScopes })),
		table.Plain("defects", 30, func(t row) any { return defectTexts(t.Token.Defects) }),
		table.Plain("unknown_facts", 24, func(t row) any { return t.Facts.Unknown }),
	}
}

// fact guards a derived fact: unknown where it could not be derived.
func fact(name string, value func(engine.TokenRow) any) func(engine.TokenRow) any {
	return func(t engine.TokenRow) any {
		if slices.Contains(t.Facts.Unknown, name) {
			return table.Unknown{}
		}
		return value(t)
	}
}

// field guards a field as the platform gives it: unknown where it was defective.
func field(name string, value func(engine.TokenRow) any) func(engine.TokenRow) any {
	return func(t engine.TokenRow) any {
		for _, defect := range t.Token.Defects {
			if defect.Field == name {
				return table.Unknown{}
			}
		}
		return value(t)
	}
}

func wordOrUnknown(word string) any {
	if word == "" {
		return table.Unknown{}
	}
	return word
}

// ownerAccountStatus is how the account stands to an owner whom the workspace
// does not know; nothing where it does, and where no account could tell.
func ownerAccountStatus(t engine.TokenRow) any {
	if t.Owner.Account == nil {
		return nil
	}
	return string(t.Owner.Account.Status)
}

func ownerLiveTokens(t engine.TokenRow) any {
	if t.Owner.ID == "" {
		return table.Unknown{}
	}
	return t.Owner.LiveTokens
}

func moment(ms *int64) any {
	if ms == nil {
		return table.Unknown{}
	}
	return table.Instant(*ms)
}

func expiresAt(t engine.TokenRow) any {
	if t.Token.Expires != nil && *t.Token.Expires == engine.NeverExpires {
		return table.Never{}
	}
	return moment(t.Token.Expires)
}

func lastUsedAt(t engine.TokenRow) any {
	if t.Token.LastUsed == nil {
		return table.Never{}
	}
	return moment(t.Token.LastUsed)
}

func autoscopeState(t engine.TokenRow) any {
	if state := engine.AutoscopeState(t.Token.AutoscopeState); state != nil {
		return *state
	}
	return t.Token.AutoscopeState
}

func defectTexts(defects []engine.Defect) []string {
	texts := make([]string, len(defects))
	for i, d := range defects {
		texts[i] = d.Field + ": " + d.Reason
		if d.Value != "" {
			texts[i] += " (" + d.Value + ")"
		}
	}
	return texts
}

// orUnknown tells a value that could not be read from one that was.
func orUnknown[T any](value *T) any {
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
