package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"patrol/engine"
)

// ImportOptions tune Import.
type ImportOptions struct {
	Options
	Name  string    // of the workspace; "": the file's name
	Stdin io.Reader // what the path - reads

	AcceptEmpty bool // a file without rows is a workspace without tokens
	Labels      map[string]string
}

// Import reads a token list from a file: what `databricks token-management
// list -o json` writes, the API's own answer, what `patrol tokens` or steampipe
// writes, or a token report as CSV. A
// file holds tokens only: all other sections are not collected. It gives one
// outcome per workspace that the file names, in the order of their ids.
func Import(ctx context.Context, path string, o ImportOptions) ([]Outcome, error) {
	o.Options = o.withDefaults()
	o.Name = firstOf(o.Name, baseName(path))
	list, problem := importList(ctx, path, o)
	if problem != nil {
		return nil, problem
	}
	return list.outcomes(o), nil
}

func baseName(path string) string {
	if path == stdinPath {
		return "stdin"
	}
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

func importList(ctx context.Context, path string, o ImportOptions) (*tokenList, error) {
	file, err := openTable(ctx, path, o.Stdin)
	if err != nil {
		reason := reasonBadBody
		if errors.Is(err, fs.ErrNotExist) {
			reason = reasonNotFound
		}
		return nil, importError(path, 0, reason, err)
	}
	defer discard(file)
	list := newTokenList(newSpool(o.SpoolDir, tokensLimit), windowAt(o.Now()), true)
	if err := fillImport(path, file, list); err != nil {
		discard(list.body)
		return nil, err
	}
	return list, nil
}

// fillImport reads the rows of a file as the API would answer them.
func fillImport(path string, file *table, list *tokenList) error {
	r := rowReader{list: list, ids: map[string]bool{}}
	if file.isCSV {
		for record, err := range file.records(importColumns) {
			if err == nil {
				err = r.fromCSV(record)
			}
			if err != nil {
				return importError(path, record.line, reasonBadBody, err)
			}
		}
	} else {
		list.take = func(raw json.RawMessage, _ int64) error { return r.fromJSON(raw) }
		if problem := list.read("token list", file.from); problem != nil {
			return importError(path, 0, problem.Reason, problem.withoutReason())
		}
	}
	if n := r.rounded(); n > 0 {
		return importError(path, 0, "rounded_ids", fmt.Errorf("%d different ids end in zeros: whatever wrote the file has rounded them, and they name other people now", n))
	}
	if problem := list.finish("token list"); problem != nil {
		return importError(path, 0, problem.Reason, problem.withoutReason())
	}
	return nil
}

const hintImport = "Give the output of `databricks token-management list -o json`, or a CSV with columns for token id, owner, created and expires."

func importError(path string, line int, reason string, err error) error {
	if line > 0 {
		path += ":" + strconv.Itoa(line)
	}
	return &engine.Error{Class: engine.ClassUsage, Reason: reason, Op: "import", Target: path, Hint: hintImport, Err: err}
}

// hintNoRows: a list that lost its rows on the way looks like a workspace without tokens.
const hintNoRows = "Export the list again; if the workspace has no tokens, say so with --accept-empty."

// outcomes makes a capture of each part that holds rows, or one without rows.
func (l *tokenList) outcomes(o ImportOptions) []Outcome {
	body := &spools{}
	body.keep(l.body)
	parts := slices.DeleteFunc(slices.Clone(l.parts), func(p part) bool { return len(p.rows) == 0 })
	if len(parts) == 0 {
		parts = l.parts[:1]
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.workspace.key(), b.workspace.key()) })
	shared := &sharedSpool{body: body, users: len(parts)}
	var outcomes []Outcome
	for _, p := range parts {
		tokens := l.section(p)
		if tokens.Coverage.Complete() && len(p.rows) == 0 && !o.AcceptEmpty {
			tokens = engine.Section{Coverage: engine.Coverage{Status: engine.Failed, Reason: reasonNoRows, Detail: "the file holds no tokens", Hint: hintNoRows}}
		}
		name := firstOf(p.workspace.name, o.Name)
		if len(parts) > 1 && p.workspace.name == "" && p.workspace.id != "" {
			name += "-" + p.workspace.id
		}
		outcomes = append(outcomes, Outcome{
			Target:  Target{Name: name, Labels: o.Labels},
			Capture: importCapture(name, p.workspace.id, tokens, o),
			close:   shared.release(),
		})
	}
	return outcomes
}

func importCapture(name, workspace string, tokens engine.Section, o ImportOptions) engine.Capture {
	sections := map[engine.SectionName]engine.Section{}
	for _, collector := range All() {
		coverage, unasked := o.unasked(collector)
		if !unasked {
			coverage = engine.Coverage{Status: engine.NotCollected, Reason: "import", Detail: "an imported file holds tokens only"}
		}
		sections[collector.Section] = engine.Section{Coverage: coverage}
	}
	sections[engine.SectionTokens] = tokens
	id := firstOf(workspace, "import:"+name)
	if o.AuditLog != nil {
		sections[engine.SectionAuditLog] = o.AuditLog.section(id)
	}
	if o.AuditChanges != nil {
		sections[engine.SectionAuditChanges] = o.AuditChanges.section(id)
	}
	identity, now := engine.Workspace{ID: id, Name: name, Labels: o.Labels}, o.Now().UTC()
	if o.TokenReport != nil {
		sections[engine.SectionTokenReport] = o.TokenReport.section(identity, tokens, now)
	}
	return engine.Capture{
		Workspace:   identity,
		CollectedAt: now,
		Sections:    sections,
	}
}

// sharedSpool is closed with the last outcome that reads from it.
type sharedSpool struct {
	mu    sync.Mutex
	body  *spools
	users int
}

func (s *sharedSpool) release() func() error {
	return sync.OnceValue(func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.users--
		if s.users > 0 {
			return nil
		}
		return s.body.Close()
	})
}
