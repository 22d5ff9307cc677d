package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// Tickets brings a directory to what a report says. Each failed finding of a
// severity or worse has a file there, named by the finding's fingerprint, so that
// the same finding has the same file and id. A ticket whose finding is gone moves
// to closed/: only if this report judged its policy in its workspace, on data
// that were all read, and found no fault, or excuses it. All others stay as they are.
func Tickets(ctx context.Context, dir string, r engine.Report, t *template.Template, least engine.Severity) (open, closed int, err error) {
	if err := outfile.MakeDir(dir); err != nil {
		return 0, 0, err
	}
	tickets, err := readIndex(dir)
	if err != nil {
		return 0, 0, err
	}
	remediation := map[string]string{}
	for _, p := range r.Policies {
		remediation[p.Policy.ID] = strings.Join(strings.Fields(p.Policy.Remediation), " ")
	}
	stands := map[string]bool{} // fingerprints of what still fails, or could not be judged
	err = table.Each(ctx, r.Findings, func(f engine.Finding) error {
		if f.Status != engine.Waived && f.Status != engine.Baselined {
			stands[f.Fingerprint] = true
		}
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
		open++
		tickets[f.Fingerprint] = ticketOf{Policy: f.Policy, WorkspaceID: f.WorkspaceID}
		return writeBytes(filepath.Join(dir, f.Fingerprint+".json"), text)
	})
	if err != nil {
		return 0, 0, err
	}
	for _, id := range engine.SortedKeys(tickets) {
		if stands[id] || !tickets[id].judgedBy(r) {
			continue
		}
		if err := outfile.MakeDir(filepath.Join(dir, "closed")); err != nil {
			return 0, 0, err
		}
		err := os.Rename(filepath.Join(dir, id+".json"), filepath.Join(dir, "closed", id+".json"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // somebody may have taken it away
			return 0, 0, &engine.Error{Class: engine.ClassStorage, Reason: "write", Op: "close ticket", Target: id, Hint: "Let patrol write into " + dir + ".", Err: err}
		}
		delete(tickets, id)
		closed++
	}
	text, err := json.MarshalIndent(index{Schema: 1, Tickets: tickets}, "", "  ")
	if err != nil {
		return 0, 0, err
	}
	return open, closed, writeBytes(filepath.Join(dir, indexName), append(text, '\n'))
}

// indexName is the file that remembers what open tickets are about: a template
// may leave it out of them.
const indexName = ".patrol-tickets"

type index struct {
	Schema  int                 `json:"schema"`
	Tickets map[string]ticketOf `json:"tickets"` // by fingerprint
}

type ticketOf struct {
	Policy      string `json:"policy"`
	WorkspaceID string `json:"workspace_id"`
}

func readIndex(dir string) (map[string]ticketOf, error) {
	path := filepath.Join(dir, indexName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]ticketOf{}, nil
	}
	var found index
	if err == nil {
		if err = json.Unmarshal(text, &found); err == nil && found.Schema != 1 {
			err = fmt.Errorf("schema %d is not known", found.Schema)
		}
	}
	if err != nil {
		return nil, engine.UsageError("read tickets", path, "Remove this file: patrol makes it anew, and leaves the tickets that it does not know.", err)
	}
	if found.Tickets == nil {
		found.Tickets = map[string]ticketOf{}
	}
	for id := range found.Tickets {
		if id != filepath.Base(id) || strings.ContainsAny(id, `/\`) {
			return nil, engine.UsageError("read tickets", path, "Remove this file: patrol makes it anew.", fmt.Errorf("%q is no fingerprint", id))
		}
	}
	return found.Tickets, nil
}

// judgedBy reports whether a report's silence about a finding means that it is
// gone: its workspace was read and its policy ran there on all that it needs.
func (t ticketOf) judgedBy(r engine.Report) bool {
	policy := slices.IndexFunc(r.Policies, func(p engine.PolicyReport) bool { return p.Policy.ID == t.Policy && p.Tally.Evaluated() > 0 })
	workspace := slices.IndexFunc(r.Workspaces, func(w engine.WorkspaceReport) bool { return w.Snapshot.Workspace.ID == t.WorkspaceID })
	if policy < 0 || workspace < 0 {
		return false
	}
	snapshot := r.Workspaces[workspace].Snapshot
	if len(snapshot.Incomplete()) > 0 {
		return false
	}
	for _, need := range r.Policies[policy].Policy.Needs {
		section, _, _ := strings.Cut(need, ".")
		if c, known := snapshot.Coverage[engine.SectionName(section)]; known && !c.Covered() {
			return false
		}
	}
	return true
}

func writeBytes(path string, text []byte) error {
	return outfile.Files{}.Write(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
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
