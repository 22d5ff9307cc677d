// Package notice writes to the owners of tokens what a plan has in store for
// them: one message each, as Markdown and as a mail that is ready to send.
// patrol sends nothing by itself.
//
// The text comes from a template that the user can replace. It is text/template
// and not html/template, because Markdown is no HTML: every value that it is
// given has gone through SafeText and has its Markdown escaped, so that a
// comment or a name cannot become a link or a header.
package notice

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"text/template"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

//go:embed notice.md.tmpl
var standard string

// Message is what one owner is told.
type Message struct {
	Owner   string // as the plan names it
	Address string // mail address; "" when the owner has none (a service principal, somebody who left)
	Name    string // of its files, without ending
	Subject string
	Body    string // Markdown
	Steps   []engine.Step
}

// Data is what a template sees. All texts are safe to stand in Markdown and in
// a cell of its tables.
type Data struct {
	Owner     string
	Contact   string // whom to ask; "" when the configuration names nobody
	PlanID    string
	AsOf      string // day
	Tokens    []Token
	Changing  int    // tokens that will be changed
	NotBefore string // day of the first change; "" when nothing will change
	Instead   string // how to sign in without a token
}

// Token is one token of the owner.
type Token struct {
	Workspace string
	Host      string
	ID        string
	Comment   string
	Created   string // day, or "unknown"
	Expires   string // day, "never" or "unknown"
	LastUsed  string // day, "never" or "unknown"
	Scopes    string
	What      string // what will happen or is asked
	From      string // day from which it happens; "" when nothing will be done
	Reasons   []Reason
}

// Reason is a policy that the token breaks.
type Reason struct {
	Policy  string
	Message string
}

// Messages writes one message per owner of a plan: about tokens that they are
// to act on, and about changes that the grace period leaves them time to avert.
// An empty source means the standard template.
func Messages(p engine.Plan, source string) ([]Message, error) {
	text, err := template.New("notice").Option("missingkey=error").Parse(cmp.Or(source, standard))
	if err != nil {
		return nil, badTemplate(err)
	}
	owners := map[string]*owner{}
	for _, step := range Asked(p) {
		key := cmp.Or(step.Owner, step.OwnerID)
		if owners[key] == nil {
			owners[key] = &owner{label: key}
		}
		owners[key].steps = append(owners[key].steps, step)
	}
	var messages []Message
	for _, key := range engine.SortedKeys(owners) {
		message, err := owners[key].message(p, text)
		if err != nil {
			return nil, err
		}
		messages = append(messages, message)
	}
	return messages, nil
}

func badTemplate(err error) error {
	return engine.UsageError("read template of notices", "", "docs/remediation.md lists what a template can use.", err)
}

// Asked are the steps of a plan that owners are told about and can answer to.
func Asked(p engine.Plan) []engine.Step {
	var steps []engine.Step
	for _, step := range p.Steps {
		if told(p, step) {
			steps = append(steps, step)
		}
	}
	return steps
}

// told reports whether the owner of a step's token hears of it.
func told(p engine.Plan, s engine.Step) bool {
	onToken := remedy.OnToken(s) || s.Action == engine.Notify && s.OwnerID != ""
	return onToken && (s.Action == engine.Notify || s.NotBefore > p.AsOf)
}

type owner struct {
	label string
	steps []engine.Step
}

func (o *owner) message(p engine.Plan, text *template.Template) (Message, error) {
	data := o.data(p)
	var body bytes.Buffer
	if err := text.Execute(&body, data); err != nil {
		return Message{}, badTemplate(err)
	}
	m := Message{Owner: o.label, Name: fileName(o.label), Body: strings.TrimSpace(body.String()) + "\n", Steps: o.steps}
	if o.steps[0].OwnerKind != engine.Missing { // an address may have another owner by now
		m.Address = address(o.label)
	}
	m.Subject = fmt.Sprintf("Your Databricks tokens: %s to look at", count(len(data.Tokens), "token"))
	if data.Changing > 0 {
		m.Subject = fmt.Sprintf("Your Databricks tokens: %s will change from %s", count(data.Changing, "token"), data.NotBefore)
	}
	return m, nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (o *owner) data(p engine.Plan) Data {
	d := Data{Owner: markdown(cmp.Or(o.steps[0].OwnerName, o.label)), Contact: markdown(p.Contact), PlanID: markdown(p.ID), AsOf: day(p.AsOf), Instead: o.steps[0].OwnerKind.Instead()}
	hosts := map[string]string{}
	for _, w := range p.Workspaces {
		hosts[w.ID] = w.Host
	}
	slices.SortStableFunc(o.steps, func(a, b engine.Step) int {
		return cmp.Or(cmp.Compare(b.NotBefore, a.NotBefore), cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Target, b.Target))
	})
	changed := map[string]bool{}
	for _, step := range o.steps {
		token := tokenOf(step, hosts[step.WorkspaceID])
		if token.From != "" {
			changed[step.WorkspaceID+" "+step.Target] = true
			if d.NotBefore == "" || token.From < d.NotBefore {
				d.NotBefore = token.From
			}
		}
		d.Tokens = append(d.Tokens, token)
	}
	d.Changing = len(changed)
	return d
}

func tokenOf(s engine.Step, host string) Token {
	card, _ := s.Card()
	t := Token{
		Workspace: markdown(s.Workspace), Host: markdown(host), ID: markdown(s.Target), Comment: markdown(strings.Join(strings.Fields(card.Comment), " ")),
		Created: card.Created, Expires: card.Expires, LastUsed: card.LastUsed, Scopes: markdown(card.Scopes), What: remedy.Of(s.Action).Owner,
	}
	if remedy.Changes(s) {
		t.From = day(s.NotBefore)
	}
	for i, policy := range s.Policies {
		t.Reasons = append(t.Reasons, Reason{Policy: markdown(policy), Message: markdown(s.Reasons[i])})
	}
	return t
}

// day is the day of a time in a plan.
func day(text string) string {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC().Format(time.DateOnly)
	}
	return ""
}

// address is the owner's mail address, when the name is one and nothing else.
func address(name string) string {
	parsed, err := mail.ParseAddress(name)
	if err != nil || parsed.Address != name || engine.SafeText(name) != name {
		return ""
	}
	return name
}

// fileName keeps what is harmless in every file system; the digest tells apart
// owners whose names differ in the rest only.
func fileName(name string) string {
	kept := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '@', r == '.', r == '-', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, name)
	kept = strings.Trim(kept, ".-_")
	return fmt.Sprintf("%s-%s", cmp.Or(kept[:min(len(kept), 80)], "owner"), engine.TextDigest(name)[:8])
}

// markdown makes foreign text stand for itself in Markdown: no mark, no cell, no
// address that a reader could follow.
func markdown(text string) string {
	var b strings.Builder
	for _, r := range engine.SafeText(text) {
		if strings.ContainsRune("\\`*[]<>#!|~&", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return strings.NewReplacer("://", `:\//`, "www.", `www\.`, "WWW.", `WWW\.`).Replace(b.String())
}
