package reports

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
	"patrol/reports/table"
	"patrol/reports/workbook"
)

// What forms about a plan have in common.
const (
	stepHeader    = "Step"
	commentHeader = "Comment"
	digestLabel   = "Plan sha256"
)

// planForm is a worksheet in which somebody answers for steps of a plan.
func planForm(sheet string, choices, input []string, steps []engine.Step, digest string) workbook.Form {
	known := map[string]bool{}
	for _, step := range steps {
		known[step.ID] = true
	}
	return workbook.Form{Sheet: sheet, Input: input, Choices: choices, Steps: known, Summary: summarySheet, Label: digestLabel, Digest: digest}
}

// decisionForm is what reviewers fill in.
func decisionForm(steps []engine.Step, digest string) workbook.Form {
	return planForm("Steps", []string{"approve", "reject", "defer"}, []string{stepHeader, "Decision", commentHeader}, steps, digest)
}

// PlanXLSX writes the workbook in which reviewers decide about a plan. digest
// is the SHA-256 of the plan file's bytes: the decisions count for it only.
func PlanXLSX(ctx context.Context, w io.Writer, p engine.Plan, digest string) error {
	// What changes a workspace comes first, in the order in which apply would do it; then
	// what is for people.
	steps := slices.Clone(p.Steps)
	slices.SortStableFunc(steps, func(a, b engine.Step) int { return min(1, remedy.Danger(b)) - min(1, remedy.Danger(a)) })
	return writePlanBook(ctx, w, p, decisionForm(nil, digest), stepColumns(), steps, planBlocks(p, digest), func(b *workbook.Book) error {
		return addTable(ctx, b, "Not planned", []table.Column[engine.NotPlanned]{
			table.Plain("policy", 12, func(n engine.NotPlanned) any { return n.Policy }),
			table.Plain("reason", 18, func(n engine.NotPlanned) any { return n.Reason }),
			table.Wrapped("detail", 70, func(n engine.NotPlanned) any { return n.Detail }),
			table.ID("workspace_id", 20, func(n engine.NotPlanned) any { return n.WorkspaceID }),
			table.ID("resource_id", 40, func(n engine.NotPlanned) any { return n.ResourceID }),
		}, p.NotPlanned)
	})
}

// writePlanBook writes a workbook about a plan, dated by what the plan judged: a
// summary, a form, and what more adds.
func writePlanBook(ctx context.Context, w io.Writer, p engine.Plan, f workbook.Form, columns []table.Column[engine.Step], steps []engine.Step,
	summary [][][]any, more func(*workbook.Book) error,
) error {
	asOf, err := time.Parse(time.RFC3339, p.AsOf)
	if err != nil {
		return fmt.Errorf("plan is of no time: %w", err)
	}
	return workbook.Write(ctx, w, "Plan of changes to Databricks personal access tokens", asOf, []string{summarySheet}, func(b *workbook.Book) error {
		err := workbook.Add(ctx, b, workbook.Sheet[engine.Step]{Name: f.Sheet, Columns: columns, Rows: table.Known(steps), Choices: f.Choices})
		if err != nil {
			return err
		}
		if err := more(b); err != nil {
			return err
		}
		return b.AddBlocks(summarySheet, []float64{36, 70, 30}, summary...)
	})
}

// toFillIn is the value of a column that somebody fills in.
func toFillIn(engine.Step) any { return workbook.Input{} }

func stepColumns() []table.Column[engine.Step] {
	return []table.Column[engine.Step]{
		table.ID(stepHeader, 16, func(s engine.Step) any { return s.ID }),
		table.Plain("Decision", 12, toFillIn),
		table.Wrapped(commentHeader, 32, toFillIn),
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
		table.Wrapped("used_by", 40, func(s engine.Step) any {
			return strings.Join(table.Map(s.Risk.Users, func(user engine.TokenUser) string { return user.String() }), "; ")
		}),
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

// planBlocks are the summary of a plan for its reviewers.
func planBlocks(p engine.Plan, digest string) [][][]any {
	head := [][]any{{workbook.Title("Plan of changes to Databricks personal access tokens")}}
	for _, line := range planWarnings(p) {
		head = append(head, []any{line})
	}
	head = append(head,
		pair("Plan", p.ID),
		pair(digestLabel, workbook.ID(digest)),
		pair("Judged as of", p.AsOf),
		pair("Not before", p.NotBefore),
		pair("Good until", p.ExpiresAt),
		pair("Planned by", p.Planner),
		pair("Questions to", p.Contact),
		pair("Instead, people", workbook.Wrapped(engine.User.Instead())),
		pair("Instead, service principals", workbook.Wrapped(engine.ServicePrincipal.Instead())),
		pair("Steps", len(p.Steps)),
		pair("Findings without a step", len(p.NotPlanned)),
	)
	for _, w := range p.Workspaces {
		head = append(head, pair("Workspace", fmt.Sprintf("%s (%s), %s", w.Name, w.ID, engine.Plural(w.Tokens, "token"))))
	}
	actions, risks, _ := countSteps(p)
	counts := [][]any{{workbook.Label("Steps by action and risk")}}
	for _, action := range remedy.Names() {
		if actions[string(action)] > 0 {
			counts = append(counts, pair(string(action), actions[string(action)]))
		}
	}
	for _, level := range riskLevels {
		if risks[level] > 0 {
			counts = append(counts, pair(level+" risk", risks[level]))
		}
	}
	l := p.Limits
	limits := [][]any{
		{workbook.Label("Limits of what may be applied together")},
		pair("Steps", l.MaxSteps),
		pair("Percent of a workspace's tokens", fmt.Sprintf("%g", l.MaxPercent)),
		pair("Tokens of one owner", l.MaxPerOwner),
		pair(fmt.Sprintf("Used within %d days", l.RecentlyUsedDays), l.MaxRecentlyUsed),
		pair("Endangered", l.MaxEndangered),
	}
	for i, excess := range remedy.Exceeds(p, remedy.Every) {
		if i == mostExcesses {
			limits = append(limits, pair("Beyond a limit", "and more: see patrol show"))
			break
		}
		limits = append(limits, pair("Beyond a limit", excess.String()))
	}
	return [][][]any{head, counts, limits, {
		{workbook.Label("How to decide")},
		{"1. On the worksheet Steps choose approve, reject or defer for each step. An empty cell decides nothing."},
		{"2. Say why in Comment: what is rejected stays on record with its reason."},
		{"3. Save as .xlsx and hand it back: patrol approve plan.json --from this file."},
		{"Only Step, Decision, Comment and the plan's sha256 are read back. Sorting and filtering do no harm."},
	}}
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
	answers, err := decisionForm(p.Steps, digest).Read(path)
	var decisions []StepDecision
	for _, a := range answers {
		decisions = append(decisions, StepDecision{Step: a.Step, Decision: a.Word, Comment: a.Texts[0]})
	}
	return decisions, err
}

// The worksheet in which an owner answers.
const (
	replySheet  = "Tokens"
	replyHeader = "Reply"
	untilHeader = "Needed until"
)

func replyForm(steps []engine.Step, digest string) workbook.Form {
	return planForm(replySheet, engine.ReplyWords(), []string{stepHeader, replyHeader, commentHeader, untilHeader}, steps, digest)
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
	head := [][]any{
		{workbook.Title("Your Databricks personal access tokens")},
		pair("Plan", p.ID),
		pair(digestLabel, workbook.ID(digest)),
		pair("Judged as of", p.AsOf),
	}
	if len(steps) > 0 {
		head = append(head, pair("Owner", ownerOf(steps[0])))
	}
	if p.Contact != "" {
		head = append(head, pair("Questions to", p.Contact))
	}
	how := [][]any{
		{workbook.Label("How to answer")},
		{"1. On the worksheet " + replySheet + " choose for each token: " + strings.Join(engine.ReplyWords(), ", ") + "."},
		{"2. keep: you need the token and will set it right. revoke: it can go. justify: it must stay as it is."},
		{"3. To justify, say in " + commentHeader + " what the token is for, and in " + untilHeader + " the last day, such as 2027-01-31."},
		{"4. Save as .xlsx and send it back. Nothing happens by your answer alone: somebody decides about it."},
	}
	nothing := func(*workbook.Book) error { return nil }
	return writePlanBook(ctx, w, p, replyForm(nil, digest), replyColumns(), steps, [][][]any{head, how}, nothing)
}

func replyColumns() []table.Column[engine.Step] {
	return []table.Column[engine.Step]{
		table.ID(stepHeader, 16, func(s engine.Step) any { return s.ID }),
		table.Plain(replyHeader, 12, toFillIn),
		table.Wrapped(commentHeader, 40, toFillIn),
		table.Plain(untilHeader, 14, toFillIn),
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

// ReadReplyXLSX reads an owner's answers from a workbook that ReplyXLSX wrote
// for this plan; steps are those that owners were asked about. It may hold the
// steps of one owner only, so that nobody answers for others. What is refused is
// as with ReadPlanXLSX; a justification needs a comment and a day after now.
func ReadReplyXLSX(path string, steps []engine.Step, digest string, now time.Time) ([]TokenReply, error) {
	answers, err := replyForm(steps, digest).Read(path)
	if err != nil {
		return nil, err
	}
	byID := map[string]engine.Step{}
	for _, step := range steps {
		byID[step.ID] = step
	}
	var replies []TokenReply
	for _, a := range answers {
		reply, err := replyOf(a, byID[a.Step], now)
		if first := answers[0]; err == nil && reply.Step.OwnerID != byID[first.Step].OwnerID {
			err = fmt.Errorf("%s: step %s is about a token of another owner than %s", a.Place, a.Step, first.Place)
		}
		if err != nil {
			return nil, workbook.Bad(path, err)
		}
		replies = append(replies, reply)
	}
	return replies, nil
}

func replyOf(a workbook.Answer, step engine.Step, now time.Time) (TokenReply, error) {
	r := TokenReply{Step: step, Reply: a.Word, Comment: a.Texts[0]}
	if a.Word != engine.ReplyJustify {
		return r, nil
	}
	if r.Comment == "" {
		return r, fmt.Errorf("%s: a justification says in %s what the token is for", a.Place, commentHeader)
	}
	until, err := time.Parse(time.DateOnly, a.Texts[1])
	if err != nil {
		return r, fmt.Errorf("%s: %s is %q: want a day such as 2027-01-31", a.Place, untilHeader, a.Texts[1])
	}
	if !until.After(now) {
		return r, fmt.Errorf("%s: %s is over: %s", a.Place, untilHeader, a.Texts[1])
	}
	r.Until = until
	return r, nil
}
