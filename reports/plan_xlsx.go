package reports

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"patrol/engine"

	"github.com/xuri/excelize/v2"
)

// The worksheet that reviewers fill in, and the columns that count when it is
// read back. All other cells are there to be read only.
const (
	stepsSheet     = "Steps"
	stepHeader     = "Step"
	decisionHeader = "Decision"
	commentHeader  = "Comment"
	digestLabel    = "Plan sha256"
)

// decisionWords are what a reviewer may choose.
var decisionWords = [...]string{"approve", "reject", "defer"}

// PlanXLSX writes the workbook in which reviewers decide about a plan. digest
// is the SHA-256 of the plan file's bytes: the decisions count for it only.
func PlanXLSX(ctx context.Context, w io.Writer, p engine.Plan, digest string) error {
	spill, err := os.MkdirTemp(beside(w), ".patrol-xlsx-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(spill)
	asOf, err := time.Parse(time.RFC3339, p.AsOf)
	if err != nil {
		return fmt.Errorf("plan is of no time: %w", err)
	}
	b, err := newBook(spill, engine.Report{AsOf: asOf}, maxDataRows)
	if err != nil {
		return err
	}
	defer func() { _ = b.file.Close() }()
	if err := b.fillPlan(ctx, p, digest); err != nil {
		return err
	}
	return b.writeTo(ctx, w)
}

func (b *book) fillPlan(ctx context.Context, p engine.Plan, digest string) error {
	if err := b.fillSteps(forReview(p.Steps)); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Not planned", notPlannedColumns(), known(p.NotPlanned)); err != nil {
		return err
	}
	return b.summarisePlan(p, digest)
}

func stepColumns() []column[engine.Step] {
	return []column[engine.Step]{
		{stepHeader, identifier, 16, func(s engine.Step) any { return s.ID }},
		{decisionHeader, plain, 12, nil},
		{commentHeader, wrapped, 32, nil},
		{"action", plain, 14, func(s engine.Step) any { return string(s.Action) }},
		{"risk", plain, 9, func(s engine.Step) any { return s.Risk.Level }},
		{"what_could_break", wrapped, 34, func(s engine.Step) any { return stepRisk(s) }},
		{"grounds", wrapped, 60, func(s engine.Step) any { return grounds(s) }},
		{"workspace", plain, 22, func(s engine.Step) any { return s.Workspace }},
		{"owner", plain, 36, func(s engine.Step) any { return s.Owner }},
		{"target", identifier, 22, func(s engine.Step) any { return s.Target }},
		{"effect", wrapped, 26, func(s engine.Step) any { return stepEffect(s) }},
		{"severity", plain, 10, func(s engine.Step) any { return s.Severity }},
		{"not_before", plain, 21, func(s engine.Step) any { return s.NotBefore }},
		{"workspace_id", identifier, 20, func(s engine.Step) any { return s.WorkspaceID }},
		{"owner_id", identifier, 20, func(s engine.Step) any { return s.OwnerID }},
	}
}

func grounds(s engine.Step) lines {
	list := make(lines, len(s.Policies))
	for i, policy := range s.Policies {
		list[i] = policy + " " + s.Reasons[i]
	}
	return list
}

func notPlannedColumns() []column[engine.NotPlanned] {
	return []column[engine.NotPlanned]{
		{"policy", plain, 12, func(n engine.NotPlanned) any { return n.Policy }},
		{"reason", plain, 18, func(n engine.NotPlanned) any { return n.Reason }},
		{"detail", wrapped, 70, func(n engine.NotPlanned) any { return n.Detail }},
		{"workspace_id", identifier, 20, func(n engine.NotPlanned) any { return n.WorkspaceID }},
		{"resource_id", identifier, 40, func(n engine.NotPlanned) any { return n.ResourceID }},
	}
}

// fillSteps writes the worksheet to decide on. Everything but the decision and
// its comment is locked against slips; what is read back does not rest on that.
func (b *book) fillSteps(steps []engine.Step) error {
	columns := stepColumns()
	s := &sheet{book: b, name: stepsSheet}
	for _, c := range columns {
		s.headings = append(s.headings, c.heading())
		s.widths = append(s.widths, c.width)
	}
	if err := s.start(); err != nil {
		return err
	}
	input, err := b.inputStyle()
	if err != nil {
		return err
	}
	for _, step := range steps {
		if err := s.add(b.stepRow(columns, step, input)); err != nil {
			return err
		}
	}
	if err := b.guardSteps(len(steps)); err != nil {
		return err
	}
	return s.end()
}

func (b *book) stepRow(columns []column[engine.Step], step engine.Step, input int) (cells []any, height int) {
	height = 1
	for _, c := range columns {
		if c.value == nil {
			cells = append(cells, excelize.Cell{StyleID: input, Value: ""})
			continue
		}
		cell := b.cell(c.kind, c.value(step))
		if c.kind == wrapped {
			height = max(height, linesIn(cell, c.width))
		}
		cells = append(cells, cell)
	}
	return cells, height
}

// inputStyle is that of cells to fill in: text, so that nothing typed into them
// becomes a formula or a number.
func (b *book) inputStyle() (int, error) {
	return b.file.NewStyle(&excelize.Style{
		NumFmt: 49, Protection: &excelize.Protection{Locked: false}, Alignment: &excelize.Alignment{Vertical: "top", WrapText: true},
		Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{"FEF9C3"}}, Font: &excelize.Font{Family: "Calibri", Size: 11},
		Border: []excelize.Border{{Type: "bottom", Color: "D1D5DB", Style: 1}, {Type: "right", Color: "D1D5DB", Style: 1}},
	})
}

func (b *book) guardSteps(steps int) error {
	choice := excelize.NewDataValidation(true)
	choice.SetSqref(fmt.Sprintf("B2:B%d", max(2, steps+1)))
	if err := choice.SetDropList(decisionWords[:]); err != nil {
		return err
	}
	choice.SetError(excelize.DataValidationErrorStyleStop, "Decision", "Choose "+strings.Join(decisionWords[:], ", ")+", or leave the cell empty.")
	if err := b.file.AddDataValidation(stepsSheet, choice); err != nil {
		return err
	}
	return b.file.ProtectSheet(stepsSheet, &excelize.SheetProtectionOptions{
		AutoFilter: true, Sort: true, FormatColumns: true, FormatRows: true, SelectLockedCells: true, SelectUnlockedCells: true,
	})
}

// summarisePlan writes the first worksheet: which plan it is, its counts and
// limits, and how to decide.
func (b *book) summarisePlan(p engine.Plan, digest string) error {
	s := &sheet{book: b, name: summarySheet, part: 1, widths: []float64{36, 70, 30}}
	if err := b.printable(summarySheet, s.widths); err != nil {
		return err
	}
	var err error
	if s.out, err = b.file.NewStreamWriter(summarySheet); err != nil {
		return err
	}
	for i, width := range s.widths {
		if err := s.out.SetColWidth(i+1, i+1, width); err != nil {
			return err
		}
	}
	for _, block := range [][][]any{b.planHeadline(p, digest), b.planCounts(p), b.planLimits(p), b.instructions()} {
		if err := s.block(block); err != nil {
			return err
		}
	}
	return s.out.Flush()
}

func (b *book) planHeadline(p engine.Plan, digest string) [][]any {
	rows := [][]any{
		{excelize.Cell{StyleID: b.styles.title, Value: "Plan of changes to Databricks personal access tokens"}},
		b.pair("Plan", p.ID, plain),
		b.pair(digestLabel, digest, identifier),
		b.pair("Judged as of", p.AsOf, plain),
		b.pair("Not before", p.NotBefore, plain),
		b.pair("Good until", p.ExpiresAt, plain),
		b.pair("Planned by", p.Planner, plain),
		b.pair("Steps", len(p.Steps), leftNumber),
		b.pair("Findings without a step", len(p.NotPlanned), leftNumber),
	}
	for _, w := range p.Workspaces {
		rows = append(rows, b.pair("Workspace", fmt.Sprintf("%s (%s), %s", w.Name, w.ID, plural(w.Tokens, "token")), plain))
	}
	return rows
}

func (b *book) planCounts(p engine.Plan) [][]any {
	actions, risks := map[engine.Action]int{}, map[string]int{}
	for _, step := range p.Steps {
		actions[step.Action]++
		if step.Action.Changes() {
			risks[step.Risk.Level]++
		}
	}
	rows := [][]any{{b.label("Steps by action and risk")}}
	for _, action := range engine.Actions() {
		if actions[action] > 0 {
			rows = append(rows, b.pair(string(action), actions[action], leftNumber))
		}
	}
	for _, level := range []string{"high", "medium", "low"} {
		if risks[level] > 0 {
			rows = append(rows, b.pair(level+" risk", risks[level], leftNumber))
		}
	}
	return rows
}

func (b *book) planLimits(p engine.Plan) [][]any {
	l := p.Limits
	rows := [][]any{
		{b.label("Limits of what may be applied together")},
		b.pair("Steps", l.MaxSteps, leftNumber),
		b.pair("Percent of a workspace's tokens", fmt.Sprintf("%g", l.MaxPercent), plain),
		b.pair("Tokens of one owner", l.MaxPerOwner, leftNumber),
		b.pair(fmt.Sprintf("Used within %d days", l.RecentlyUsedDays), l.MaxRecentlyUsed, leftNumber),
	}
	for i, excess := range p.Exceeds(func(string) bool { return true }) {
		if i == mostExcesses {
			rows = append(rows, b.pair("Beyond a limit", "and more: see patrol show", plain))
			break
		}
		rows = append(rows, b.pair("Beyond a limit", excess.String(), plain))
	}
	return rows
}

func (b *book) instructions() [][]any {
	return [][]any{
		{b.label("How to decide")},
		{b.textCell(plain, "1. On the worksheet Steps choose approve, reject or defer for each step. An empty cell decides nothing.")},
		{b.textCell(plain, "2. Say why in Comment: what is rejected stays on record with its reason.")},
		{b.textCell(plain, "3. Save as .xlsx and hand it back: patrol approve plan.json --from this file.")},
		{b.textCell(plain, "Only Step, Decision, Comment and the plan's sha256 are read back. Sorting and filtering do no harm.")},
	}
}
