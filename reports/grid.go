package reports

import "strings"

// grid lays rows out in columns. The last column gets what the others leave.
type grid struct {
	widths []int
	whole  bool // a cell that is wider than those measured moves the rest of its line and is not cut
}

const gap = 2

// newGrid measures rows. Each column but the last is as wide as its widest
// cell, up to its limit; a column without text is left out.
func newGrid(rows [][]string, limits []int) grid {
	widths := make([]int, len(limits))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], min(limits[i], cells(fit(cell, limits[i]))))
		}
	}
	return grid{widths: widths}
}

// row is one line of cells, not yet cut to the screen.
func (g grid) row(row []string) string {
	var b strings.Builder
	for i, cell := range row {
		switch {
		case i == len(row)-1:
			b.WriteString(cell)
		case g.widths[i] > 0:
			b.WriteString(g.pad(cell, g.widths[i]) + strings.Repeat(" ", gap))
		}
	}
	return b.String()
}

func (g grid) pad(cell string, width int) string {
	if g.whole {
		width = max(width, cells(fit(cell, boundless)))
	}
	return pad(cell, width)
}
