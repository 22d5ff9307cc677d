package reports

import (
	"context"
	"io"
	"iter"
	"time"

	"patrol/engine"
	"patrol/reports/table"
)

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
