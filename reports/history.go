package reports

import (
	"io"
	"time"

	"patrol/engine"
	"patrol/reports/table"
)

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
