package reports

import (
	"fmt"
	"strings"

	"patrol/engine"

	"github.com/xuri/excelize/v2"
)

// maxLinks is how many links a worksheet gets. Excel takes 65,530, but looks
// through all of them for each new one, as excelize does; who reads on beyond
// this many rows has the filter.
const maxLinks = 10_000

// link leads from a cell of the row that is written next to another place of
// the workbook.
type link struct {
	column int    // from 0
	target string // 'Policies'!A2; "" leads nowhere
}

func location(tab string, row int) string {
	return fmt.Sprintf("'%s'!A%d", strings.ReplaceAll(tab, "'", "''"), row)
}

// follow makes the link of the row just written.
func (s *sheet) follow() error {
	l := s.link
	s.link = link{}
	if l.target == "" || s.links >= s.book.links {
		return nil
	}
	s.links++
	cell, err := excelize.CoordinatesToCellName(l.column+1, s.row)
	if err != nil {
		return err
	}
	return s.book.file.SetCellHyperLink(s.tab(), cell, l.target, "Location")
}

// linked shows that a cell is a link, where there is room for one.
func (s *sheet) linked(cells []any) {
	if s.link.target == "" || s.links >= s.book.links {
		return
	}
	if cell, ok := cells[s.link.column].(excelize.Cell); ok {
		cell.StyleID = s.book.styles.link
		cells[s.link.column] = cell
	}
}

// leads tells where the findings of each policy start.
type leads struct {
	policies map[string]string // policy → its row on the sheet of policies
	findings map[string]string // policy → its first finding
}

func newLeads(policies []engine.PolicyReport) *leads {
	l := &leads{policies: map[string]string{}, findings: map[string]string{}}
	for i, p := range policies {
		l.policies[p.Policy.ID] = location("Policies", i+2)
	}
	return l
}

// finding leads from a finding to its policy, and remembers the first.
func (l *leads) finding(s *sheet, f engine.Finding) {
	s.link = link{1, l.policies[f.Policy]}
	if l.findings[f.Policy] == "" {
		l.findings[f.Policy] = location(s.nextTab(), s.nextRow())
	}
}

// policy leads from a policy to its first finding.
func (l *leads) policy(s *sheet, p engine.PolicyReport) {
	s.link = link{0, l.findings[p.Policy.ID]}
}

// control leads from a control to the first of its policies.
func (l *leads) control(s *sheet, c engine.Control) {
	s.link = link{3, l.policies[c.Policies[0]]}
}
