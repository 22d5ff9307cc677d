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
		if err := b.fillForm(replyForm(), replyColumns(), steps); err != nil {
			return err
		}
		return b.fillSummary(b.replyHeadline(p, digest, steps), b.replyInstructions())
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
		table.Plain("from", 21, func(s engine.Step) any { return beginOf(s) }),
		table.Wrapped("instead", 40, func(s engine.Step) any { return s.OwnerKind.Instead() }),
	}
}

func beginOf(s engine.Step) string {
	if remedy.Changes(s) {
		return s.NotBefore
	}
	return ""
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

func (b *book) replyInstructions() [][]any {
	return [][]any{
		{b.label("How to answer")},
		{b.textCell(table.KindPlain, "1. On the worksheet "+replySheet+" choose for each token: "+strings.Join(engine.ReplyWords(), ", ")+".")},
		{b.textCell(table.KindPlain, "2. keep: you need the token and will set it right. revoke: it can go. justify: it must stay as it is.")},
		{b.textCell(table.KindPlain, "3. To justify, say in "+commentHeader+" what the token is for, and in "+untilHeader+" the last day, such as 2027-01-31.")},
		{b.textCell(table.KindPlain, "4. Save as .xlsx and send it back. Nothing happens by your answer alone: somebody decides about it.")},
	}
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
