package reports

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/remedy"
	"patrol/reports/table"

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
	spill, release, err := outfile.Scratch(beside(w), ".patrol-xlsx-")
	if err != nil {
		return err
	}
	defer func() { _ = release() }() // what stays is removed by the next run
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
	if err := fillSheet(ctx, b, "Not planned", notPlannedColumns(), table.Known(p.NotPlanned)); err != nil {
		return err
	}
	return b.summarisePlan(p, digest)
}

func stepColumns() []table.Column[engine.Step] {
	return []table.Column[engine.Step]{
		table.ID(stepHeader, 16, func(s engine.Step) any { return s.ID }),
		table.Plain[engine.Step](decisionHeader, 12, nil),
		table.Wrapped[engine.Step](commentHeader, 32, nil),
		table.Plain("action", 14, func(s engine.Step) any { return string(s.Action) }),
		table.Plain("risk", 9, func(s engine.Step) any { return s.Risk.Level }),
		table.Wrapped("what_could_break", 34, func(s engine.Step) any { return stepRisk(s) }),
		table.Wrapped("grounds", 60, func(s engine.Step) any { return grounds(s) }),
		table.Plain("workspace", 22, func(s engine.Step) any { return s.Workspace }),
		table.Plain("owner", 36, func(s engine.Step) any { return ownerOf(s) }),
		table.ID("target", 22, func(s engine.Step) any { return s.Target }),
		table.Wrapped("comment", 30, func(s engine.Step) any { return s.Comment }),
		table.Plain("created", 12, cardOf(func(c engine.TokenCard) string { return c.Created })),
		table.Plain("expires", 12, cardOf(func(c engine.TokenCard) string { return c.Expires })),
		table.Plain("last_used", 12, cardOf(func(c engine.TokenCard) string { return c.LastUsed })),
		table.Wrapped("scopes", 24, cardOf(func(c engine.TokenCard) string { return c.Scopes })),
		table.Wrapped("effect", 26, func(s engine.Step) any { return remedy.Effect(s) }),
		table.Wrapped("used_by", 40, func(s engine.Step) any { return strings.Join(usersOf(s), "; ") }),
		table.Plain("severity", 10, func(s engine.Step) any { return s.Severity }),
		table.Plain("not_before", 21, func(s engine.Step) any { return s.NotBefore }),
		table.ID("workspace_id", 20, func(s engine.Step) any { return s.WorkspaceID }),
		table.ID("owner_id", 20, func(s engine.Step) any { return s.OwnerID }),
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

func grounds(s engine.Step) table.Lines {
	list := make(table.Lines, len(s.Policies))
	for i, policy := range s.Policies {
		list[i] = policy + " " + s.Reasons[i]
	}
	return list
}

func notPlannedColumns() []table.Column[engine.NotPlanned] {
	return []table.Column[engine.NotPlanned]{
		table.Plain("policy", 12, func(n engine.NotPlanned) any { return n.Policy }),
		table.Plain("reason", 18, func(n engine.NotPlanned) any { return n.Reason }),
		table.Wrapped("detail", 70, func(n engine.NotPlanned) any { return n.Detail }),
		table.ID("workspace_id", 20, func(n engine.NotPlanned) any { return n.WorkspaceID }),
		table.ID("resource_id", 40, func(n engine.NotPlanned) any { return n.ResourceID }),
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
		rows = append(rows, []any{b.textCell(table.KindPlain, text)})
	}
	for _, line := range remedy.Dangers(p, remedy.Every) {
		rows = append(rows, []any{b.textCell(table.KindPlain, strings.ToUpper(line[:1])+line[1:])})
	}
	rows = append(rows,
		b.pair("Plan", p.ID, table.KindPlain),
		b.pair(digestLabel, digest, table.KindID),
		b.pair("Judged as of", p.AsOf, table.KindPlain),
		b.pair("Not before", p.NotBefore, table.KindPlain),
		b.pair("Good until", p.ExpiresAt, table.KindPlain),
		b.pair("Planned by", p.Planner, table.KindPlain),
		b.pair("Questions to", p.Contact, table.KindPlain),
		b.pair("Instead, people", engine.User.Instead(), table.KindWrapped),
		b.pair("Instead, service principals", engine.ServicePrincipal.Instead(), table.KindWrapped),
		b.pair("Steps", len(p.Steps), table.KindLeft),
		b.pair("Findings without a step", len(p.NotPlanned), table.KindLeft),
	)
	for _, w := range p.Workspaces {
		rows = append(rows, b.pair("Workspace", fmt.Sprintf("%s (%s), %s", w.Name, w.ID, engine.Plural(w.Tokens, "token")), table.KindPlain))
	}
	return rows
}

func (b *book) planCounts(p engine.Plan) [][]any {
	actions, risks := map[engine.Action]int{}, map[string]int{}
	for _, step := range p.Steps {
		actions[step.Action]++
		if remedy.Changes(step) {
			risks[step.Risk.Level]++
		}
	}
	rows := [][]any{{b.label("Steps by action and risk")}}
	for _, action := range remedy.Names() {
		if actions[action] > 0 {
			rows = append(rows, b.pair(string(action), actions[action], table.KindLeft))
		}
	}
	for _, level := range []string{"high", "medium", "low"} {
		if risks[level] > 0 {
			rows = append(rows, b.pair(level+" risk", risks[level], table.KindLeft))
		}
	}
	return rows
}

func (b *book) planLimits(p engine.Plan) [][]any {
	l := p.Limits
	rows := [][]any{
		{b.label("Limits of what may be applied together")},
		b.pair("Steps", l.MaxSteps, table.KindLeft),
		b.pair("Percent of a workspace's tokens", fmt.Sprintf("%g", l.MaxPercent), table.KindPlain),
		b.pair("Tokens of one owner", l.MaxPerOwner, table.KindLeft),
		b.pair(fmt.Sprintf("Used within %d days", l.RecentlyUsedDays), l.MaxRecentlyUsed, table.KindLeft),
		b.pair("Endangered", l.MaxEndangered, table.KindLeft),
	}
	for i, excess := range remedy.Exceeds(p, remedy.Every) {
		if i == mostExcesses {
			rows = append(rows, b.pair("Beyond a limit", "and more: see patrol show", table.KindPlain))
			break
		}
		rows = append(rows, b.pair("Beyond a limit", excess.String(), table.KindPlain))
	}
	return rows
}

func (b *book) instructions() [][]any {
	return [][]any{
		{b.label("How to decide")},
		{b.textCell(table.KindPlain, "1. On the worksheet Steps choose approve, reject or defer for each step. An empty cell decides nothing.")},
		{b.textCell(table.KindPlain, "2. Say why in Comment: what is rejected stays on record with its reason.")},
		{b.textCell(table.KindPlain, "3. Save as .xlsx and hand it back: patrol approve plan.json --from this file.")},
		{b.textCell(table.KindPlain, "Only Step, Decision, Comment and the plan's sha256 are read back. Sorting and filtering do no harm.")},
	}
}
