package reports

import (
	"context"
	"io"
	"iter"
	"time"

	"patrol/engine"
)

// sample is how many rows decide the widths of the columns: the rest streams.
const sample = 200

// roomForComments is the width from which comments are shown.
const roomForComments = 90

// TokensTable writes tokens for a reader at a terminal, or whole for a file.
func TokensTable(ctx context.Context, w io.Writer, rows iter.Seq2[engine.TokenRow, error], o TableOptions) error {
	t := &tokensTable{screen: newScreen(w, o), limit: o.Limit}
	if err := each(ctx, rows, t.add); err != nil {
		return err
	}
	t.begin()
	t.sum()
	return t.flush()
}

// tokensTable keeps rows until it knows how wide the columns are.
type tokensTable struct {
	*screen
	limit   int
	pending [][]string
	layout  *grid
	count   int
}

func tokensHeader() []string {
	return []string{"WORKSPACE", "TOKEN", "OWNER", "CREATED", "EXPIRES", "LAST USED", "COMMENT"}
}

func (t *tokensTable) add(row engine.TokenRow) error {
	t.count++
	if t.limit > 0 && t.count > t.limit {
		return nil
	}
	line := tokenLine(row)
	if t.layout != nil {
		t.line(t.row(line))
		return nil
	}
	t.pending = append(t.pending, line)
	if len(t.pending) == sample {
		t.begin()
	}
	return nil
}

// begin decides the widths and writes what was kept.
func (t *tokensTable) begin() {
	if t.layout != nil || len(t.pending) == 0 {
		return
	}
	narrow := t.width / 8
	layout := newGrid(append([][]string{tokensHeader()}, t.pending...), []int{narrow, 9, narrow + 10, 10, 10, 10, t.width})
	layout.whole = t.width == boundless
	t.layout = &layout
	t.styled(bold, t.row(tokensHeader()))
	for _, line := range t.pending {
		t.line(t.row(line))
	}
	t.pending = nil
}

// row lays out a line. Comments come last, and not at all where the screen is
// too narrow to make sense of them.
func (t *tokensTable) row(line []string) string {
	if t.width < roomForComments {
		line = line[:len(line)-1]
	}
	return t.layout.row(line)
}

func (t *tokensTable) sum() {
	if t.limit > 0 && t.count > t.limit {
		t.line("… and " + comma(t.count-t.limit) + " more")
	}
	t.line(plural(t.count, "token") + ".")
}

func tokenLine(t engine.TokenRow) []string {
	return []string{
		t.Workspace.Name,
		shortID(t.Token.ID),
		ownerText(t.Owner),
		dayText(moment(t.Token.Created)),
		dayText(fact("expires_at", expiresAt)(t)),
		dayText(fact("last_used_at", lastUsedAt)(t)),
		t.Token.Comment,
	}
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
	case instant:
		return time.UnixMilli(int64(v)).UTC().Format(time.DateOnly)
	case never:
		return "never"
	}
	return "unknown"
}
