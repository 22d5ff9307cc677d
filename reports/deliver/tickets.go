package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/template"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/reports/table"
)

// DefaultTicket is the template without another: fields that any tracker has.
const DefaultTicket = `{
  "id": {{json .ID}},
  "title": {{json .Title}},
  "description": {{json .Description}},
  "severity": {{json .Finding.Severity}},
  "labels": ["patrol", {{json .Finding.Policy}}],
  "since": {{json .Since}}
}`

// Ticket is what a template can use.
type Ticket struct {
	ID          string // the finding's fingerprint: the same in every run
	Title       string
	Description string // message, resource, owner and what to do
	Remediation string
	Since       string // when the finding was first seen; "" where that is not known
	Finding     engine.Finding
}

// ParseTicket reads a template: Go's text/template, in which json writes any
// value as JSON.
func ParseTicket(text string) (*template.Template, error) {
	t, err := template.New("ticket").Option("missingkey=error").Funcs(template.FuncMap{
		"json": func(value any) (string, error) {
			text, err := table.JSONText(value)
			return string(text), err
		},
		"upper": strings.ToUpper,
	}).Parse(text)
	if err != nil {
		return nil, err
	}
	_, err = render(t, Ticket{ID: "id", Title: "a \"title\"", Finding: engine.Finding{Severity: engine.High, Evidence: map[string]any{}}})
	return t, err
}

// Tickets writes a file for each failed finding of a severity or worse, named by
// the finding's fingerprint, so that the same finding has the same file and id.
func Tickets(ctx context.Context, dir string, r engine.Report, t *template.Template, least engine.Severity, files outfile.Files) (written int, err error) {
	if err := outfile.MakeDir(dir); err != nil {
		return 0, err
	}
	remediation := map[string]string{}
	for _, p := range r.Policies {
		remediation[p.Policy.ID] = strings.Join(strings.Fields(p.Policy.Remediation), " ")
	}
	err = table.Each(ctx, r.Findings, func(f engine.Finding) error {
		if f.Status != engine.Fail || !f.Severity.AtLeast(least) {
			return nil
		}
		ticket := Ticket{ID: f.Fingerprint, Finding: f, Remediation: remediation[f.Policy],
			Title: fmt.Sprintf("%s: %s in %s", f.Policy, f.Title, f.Workspace)}
		if !f.Since.IsZero() {
			ticket.Since = table.TimeText(f.Since)
		}
		lines := []string{f.Message, fmt.Sprintf("%s %s in %s (%s)", f.Resource, f.ResourceID, f.Workspace, f.WorkspaceID)}
		if f.Owner != "" {
			lines = append(lines, "owner: "+f.Owner)
		}
		ticket.Description = strings.Join(append(lines, ticket.Remediation), "\n")
		text, err := render(t, ticket)
		if err != nil {
			return engine.UsageError("write ticket", f.Fingerprint, "Correct tickets.template in patrol.yaml.", err)
		}
		written++
		return files.Write(filepath.Join(dir, f.Fingerprint+".json"), func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	})
	return written, err
}

func render(t *template.Template, ticket Ticket) ([]byte, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, ticket); err != nil {
		return nil, err
	}
	if !json.Valid(b.Bytes()) {
		return nil, fmt.Errorf("what the template makes is no JSON; write values as {{json .Title}}")
	}
	return append(bytes.TrimSpace(b.Bytes()), '\n'), nil
}
