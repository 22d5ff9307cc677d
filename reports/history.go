package reports

import (
	"io"
	"strings"
	"time"

	"patrol/engine"
)

// History is what is told of a token, oldest first.
type History struct {
	Workspace   string              `json:"workspace"`
	WorkspaceID string              `json:"workspace_id"`
	TokenID     string              `json:"token_id"`
	Events      []engine.TokenEvent `json:"events"`
}

// HistoryTable writes histories for a reader at a terminal.
func HistoryTable(w io.Writer, told []History, o TableOptions) error {
	s := newScreen(w, o)
	for i, h := range told {
		if i > 0 {
			s.line("")
		}
		s.styled(bold, h.TokenID)
		s.line("in " + h.Workspace + " (" + h.WorkspaceID + ")")
		rows := [][]string{}
		for _, e := range h.Events {
			rows = append(rows, []string{"  " + time.UnixMilli(e.At).UTC().Format(time.RFC3339), e.What, e.Detail})
		}
		s.told(rows)
	}
	return s.flush()
}

// told writes rows whose last cell is prose, which goes on below itself where
// the screen ends: the end of it says until when something held.
func (s *screen) told(rows [][]string) {
	layout := newGrid(rows, []int{22, 12, s.width})
	for _, row := range rows {
		last := len(row) - 1
		head := layout.row(append(row[:last:last], ""))
		s.hang(head, strings.Repeat(" ", cells(head)), row[last])
	}
}
