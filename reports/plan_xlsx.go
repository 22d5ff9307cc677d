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

// The worksheet that reviewers fill in.
const (
	stepsSheet     = "Steps"
	decisionHeader = "Decision"
)

// decisionForm is what reviewers fill in.
func decisionForm() form {
	return form{sheet: stepsSheet, input: []string{stepHeader, decisionHeader, commentHeader}, words: []string{"approve", "reject", "defer"}}
}

// PlanXLSX writes the workbook in which reviewers decide about a plan. digest
// is the SHA-256 of the plan file's bytes: the decisions count for it only.
func PlanXLSX(ctx context.Context, w io.Writer, p engine.Plan, digest string) error {
	return writePlanBook(ctx, w, p, func(b *book) error { return b.fillPlan(ctx, p, digest) })
}

// writePlanBook writes a workbook about a plan, dated by what the plan judged so
// that the same plan gives the same bytes.
func writePlanBook(ctx context.Context, w io.Writer, p engine.Plan, fill func(*book) error) error {
	asOf, err := time.Parse(time.RFC3339, p.AsOf)
	if err != nil {
		return fmt.Errorf("plan is of no time: %w", err)
	}
	spill, err := os.MkdirTemp(beside(w), ".patrol-xlsx-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(spill)
	b, err := newBook(spill, engine.Report{AsOf: asOf}, maxDataRows)
	if err != nil {
		return err
	}
	defer func() { _ = b.file.Close() }()
	if err := fill(b); err != nil {
		return err
	}
	return b.writeTo(ctx, w)
}

func (b *book) fillPlan(ctx context.Context, p engine.Plan, digest string) error {
	if err := b.fillForm(decisionForm(), stepColumns(), forReview(p.Steps)); err != nil {
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
		{"owner", plain, 36, func(s engine.Step) any { return ownerOf(s) }},
		{"target", identifier, 22, func(s engine.Step) any { return s.Target }},
		{"comment", wrapped, 30, func(s engine.Step) any { return s.Comment }},
		{"created", plain, 12, cardOf(func(c engine.TokenCard) string { return c.Created })},
		{"expires", plain, 12, cardOf(func(c engine.TokenCard) string { return c.Expires })},
		{"last_used", plain, 12, cardOf(func(c engine.TokenCard) string { return c.LastUsed })},
		{"scopes", wrapped, 24, cardOf(func(c engine.TokenCard) string { return c.Scopes })},
		{"effect", wrapped, 26, func(s engine.Step) any { return stepEffect(s) }},
		{"severity", plain, 10, func(s engine.Step) any { return s.Severity }},
		{"not_before", plain, 21, func(s engine.Step) any { return s.NotBefore }},
		{"workspace_id", identifier, 20, func(s engine.Step) any { return s.WorkspaceID }},
		{"owner_id", identifier, 20, func(s engine.Step) any { return s.OwnerID }},
	}
}

// cardOf is a part of what a step's token is known by; nothing for a workspace.
func cardOf(part func(engine.TokenCard) string) func(engine.Step) any {
	return func(s engine.Step) any {
		if card, ofToken := s.Card(); ofToken {
			return part(card)
		}
		return ""
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

// summarisePlan writes the first worksheet: which plan it is, its counts and
// limits, and how to decide.
func (b *book) summarisePlan(p engine.Plan, digest string) error {
	return b.fillSummary(b.planHeadline(p, digest), b.planCounts(p), b.planLimits(p), b.instructions())
}

func (b *book) planHeadline(p engine.Plan, digest string) [][]any {
	rows := [][]any{
		{excelize.Cell{StyleID: b.styles.title, Value: "Plan of changes to Databricks personal access tokens"}},
	}
	if text := PlanWhatIf(p); text != "" {
		rows = append(rows, []any{b.textCell(plain, text)})
	}
	for _, line := range p.Dangers(func(string) bool { return true }) {
		rows = append(rows, []any{b.textCell(plain, strings.ToUpper(line[:1])+line[1:])})
	}
	rows = append(rows,
		b.pair("Plan", p.ID, plain),
		b.pair(digestLabel, digest, identifier),
		b.pair("Judged as of", p.AsOf, plain),
		b.pair("Not before", p.NotBefore, plain),
		b.pair("Good until", p.ExpiresAt, plain),
		b.pair("Planned by", p.Planner, plain),
		b.pair("Questions to", p.Contact, plain),
		b.pair("Instead, people", engine.User.Instead(), wrapped),
		b.pair("Instead, service principals", engine.ServicePrincipal.Instead(), wrapped),
		b.pair("Steps", len(p.Steps), leftNumber),
		b.pair("Findings without a step", len(p.NotPlanned), leftNumber),
	)
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
		b.pair("Endangered", l.MaxEndangered, leftNumber),
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
