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
	badTemplate := func(err error) error {
		return engine.UsageError("read template of notices", "", "docs/remediation.md lists what a template can use.", err)
	}
	text, err := template.New("notice").Option("missingkey=error").Parse(cmp.Or(source, standard))
	if err != nil {
		return nil, badTemplate(err)
	}
	hosts := map[string]string{}
	for _, w := range p.Workspaces {
		hosts[w.ID] = w.Host
	}
	owners := map[string][]engine.Step{}
	for _, step := range Asked(p) {
		key := cmp.Or(step.Owner, step.OwnerID)
		owners[key] = append(owners[key], step)
	}
	var messages []Message
	for _, label := range engine.SortedKeys(owners) {
		steps := owners[label]
		first := steps[0]
		d := Data{Owner: markdown(cmp.Or(first.OwnerName, label)), Contact: markdown(p.Contact), PlanID: markdown(p.ID), AsOf: day(p.AsOf), Instead: first.OwnerKind.Instead()}
		slices.SortStableFunc(steps, func(a, b engine.Step) int {
			return cmp.Or(cmp.Compare(b.NotBefore, a.NotBefore), cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Target, b.Target))
		})
		changed := map[string]bool{}
		for _, step := range steps {
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
		var body bytes.Buffer
		if err := text.Execute(&body, d); err != nil {
			return nil, badTemplate(err)
		}
		m := Message{Owner: label, Name: fileName(label), Body: strings.TrimSpace(body.String()) + "\n", Steps: steps}
		if steps[0].OwnerKind != engine.Missing { // an address may have another owner by now
			m.Address = address(label)
		}
		m.Subject = fmt.Sprintf("Your Databricks tokens: %s to look at", engine.Plural(len(d.Tokens), "token"))
		if d.Changing > 0 {
			m.Subject = fmt.Sprintf("Your Databricks tokens: %s will change from %s", engine.Plural(d.Changing, "token"), d.NotBefore)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// Asked are the steps of a plan that owners are asked about and can answer to:
// those on tokens that ask them for something, or whose time is still to come.
func Asked(p engine.Plan) []engine.Step {
	var steps []engine.Step
	for _, s := range p.Steps {
		onToken := remedy.OnToken(s) || s.Action == engine.Notify && s.OwnerID != ""
		if onToken && (s.Action == engine.Notify || s.NotBefore > p.AsOf) {
			steps = append(steps, s)
		}
	}
	return steps
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
