package reports

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"patrol/engine"
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
	return writePlanBook(ctx, w, p, func(b *book) error {
		if err := fillForm(ctx, b, decisionForm(), stepColumns(), forReview(p.Steps)); err != nil {
			return err
		}
		if err := fillSheet(ctx, b, "Not planned", notPlannedColumns(), table.Known(p.NotPlanned)); err != nil {
			return err
		}
		return b.fillSummary(b.planHeadline(p, digest), b.planCounts(p), b.planLimits(p), b.lines("How to decide",
			"1. On the worksheet Steps choose approve, reject or defer for each step. An empty cell decides nothing.",
			"2. Say why in Comment: what is rejected stays on record with its reason.",
			"3. Save as .xlsx and hand it back: patrol approve plan.json --from this file.",
			"Only Step, Decision, Comment and the plan's sha256 are read back. Sorting and filtering do no harm."))
	})
}

// writePlanBook writes a workbook about a plan, dated by what the plan judged.
func writePlanBook(ctx context.Context, w io.Writer, p engine.Plan, fill func(*book) error) error {
	asOf, err := time.Parse(time.RFC3339, p.AsOf)
	if err != nil {
		return fmt.Errorf("plan is of no time: %w", err)
	}
	return writeBook(ctx, w, engine.Report{AsOf: asOf}, maxDataRows, fill)
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

// StepDecision is a reviewer's decision as a workbook holds it.
type StepDecision struct {
	Step     string
	Decision string // approve, reject or defer
	Comment  string
}

// ReadPlanXLSX reads the decisions from a workbook that PlanXLSX wrote for this
// plan. Only the step's id, its decision and comment, and the plan's digest are
// read. Rows without a decision are left out; a row of an unknown step, a step
// that is there twice, an unknown decision and any formula are refused with
// their place.
func ReadPlanXLSX(path string, p engine.Plan, digest string) ([]StepDecision, error) {
	answers, err := readForm(path, decisionForm(), p.Steps, digest)
	var decisions []StepDecision
	for _, a := range answers {
		decisions = append(decisions, StepDecision{Step: a.step.ID, Decision: a.word, Comment: a.texts[0]})
	}
	return decisions, err
}

// The worksheet in which an owner answers.
const (
	replySheet  = "Tokens"
	replyHeader = "Reply"
	untilHeader = "Needed until"
)

func replyForm() form {
	return form{sheet: replySheet, input: []string{stepHeader, replyHeader, commentHeader, untilHeader}, words: engine.ReplyWords()}
}

// TokenReply is what an owner answers about one token.
type TokenReply struct {
	Step    engine.Step
	Reply   string // one of engine.ReplyWords
	Comment string
	Until   time.Time // last day for which a justification is asked; zero otherwise
}

// ReplyXLSX writes the workbook in which the owner of the tokens of these steps
// answers. digest is the SHA-256 of the plan file's bytes.
func ReplyXLSX(ctx context.Context, w io.Writer, p engine.Plan, digest string, steps []engine.Step) error {
	return writePlanBook(ctx, w, p, func(b *book) error {
		if err := fillForm(ctx, b, replyForm(), replyColumns(), steps); err != nil {
			return err
		}
		return b.fillSummary(b.replyHeadline(p, digest, steps), b.lines("How to answer",
			"1. On the worksheet "+replySheet+" choose for each token: "+strings.Join(engine.ReplyWords(), ", ")+".",
			"2. keep: you need the token and will set it right. revoke: it can go. justify: it must stay as it is.",
			"3. To justify, say in "+commentHeader+" what the token is for, and in "+untilHeader+" the last day, such as 2027-01-31.",
			"4. Save as .xlsx and send it back. Nothing happens by your answer alone: somebody decides about it."))
	})
}

func replyColumns() []table.Column[engine.Step] {
	return []table.Column[engine.Step]{
		table.ID(stepHeader, 16, func(s engine.Step) any { return s.ID }),
		table.Plain[engine.Step](replyHeader, 12, nil),
		table.Wrapped[engine.Step](commentHeader, 40, nil),
		table.Plain[engine.Step](untilHeader, 14, nil),
		table.Plain("workspace", 22, func(s engine.Step) any { return s.Workspace }),
		table.ID("token", 22, func(s engine.Step) any { return s.Target }),
		table.Wrapped("comment", 30, func(s engine.Step) any { return s.Comment }),
		table.Plain("created", 12, cardOf(func(c engine.TokenCard) string { return c.Created })),
		table.Plain("expires", 12, cardOf(func(c engine.TokenCard) string { return c.Expires })),
		table.Plain("last_used", 12, cardOf(func(c engine.TokenCard) string { return c.LastUsed })),
		table.Wrapped("scopes", 24, cardOf(func(c engine.TokenCard) string { return c.Scopes })),
		table.Wrapped("why", 50, func(s engine.Step) any { return grounds(s) }),
		table.Wrapped("what_will_happen", 40, func(s engine.Step) any { return remedy.Of(s.Action).Owner }),
		table.Plain("from", 21, func(s engine.Step) any {
			if !remedy.Changes(s) {
				return ""
			}
			return s.NotBefore
		}),
		table.Wrapped("instead", 40, func(s engine.Step) any { return s.OwnerKind.Instead() }),
	}
}

func (b *book) replyHeadline(p engine.Plan, digest string, steps []engine.Step) [][]any {
	rows := [][]any{
		{excelize.Cell{StyleID: b.styles.title, Value: "Your Databricks personal access tokens"}},
		b.pair("Plan", p.ID, table.KindPlain),
		b.pair(digestLabel, digest, table.KindID),
		b.pair("Judged as of", p.AsOf, table.KindPlain),
	}
	if len(steps) > 0 {
		rows = append(rows, b.pair("Owner", ownerOf(steps[0]), table.KindPlain))
	}
	if p.Contact != "" {
		rows = append(rows, b.pair("Questions to", p.Contact, table.KindPlain))
	}
	return rows
}

// ReadReplyXLSX reads an owner's answers from a workbook that ReplyXLSX wrote
// for this plan; steps are those that owners were asked about. It may hold the
// steps of one owner only, so that nobody answers for others. What is refused is
// as with ReadPlanXLSX; a justification needs a comment and a day after now.
func ReadReplyXLSX(path string, steps []engine.Step, digest string, now time.Time) ([]TokenReply, error) {
	answers, err := readForm(path, replyForm(), steps, digest)
	if err != nil {
		return nil, err
	}
	var replies []TokenReply
	for _, a := range answers {
		reply, err := replyOf(a, now)
		if err == nil && a.step.OwnerID != answers[0].step.OwnerID {
			err = fmt.Errorf("%s: step %s is about a token of another owner than %s", a.place, a.step.ID, answers[0].place)
		}
		if err != nil {
			return nil, badBook(path, err)
		}
		replies = append(replies, reply)
	}
	return replies, nil
}

func replyOf(a answer, now time.Time) (TokenReply, error) {
	r := TokenReply{Step: a.step, Reply: a.word, Comment: a.texts[0]}
	if a.word != engine.ReplyJustify {
		return r, nil
	}
	if r.Comment == "" {
		return r, fmt.Errorf("%s: a justification says in %s what the token is for", a.place, commentHeader)
	}
	until, err := time.Parse(time.DateOnly, a.texts[1])
	if err != nil {
		return r, fmt.Errorf("%s: %s is %q: want a day such as 2027-01-31", a.place, untilHeader, a.texts[1])
	}
	if !until.After(now) {
		return r, fmt.Errorf("%s: %s is over: %s", a.place, untilHeader, a.texts[1])
	}
	r.Until = until
	return r, nil
}
