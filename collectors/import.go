package collectors

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"patrol/engine"
)

// ImportOptions tune Import.
type ImportOptions struct {
	Options
	Name   string // of the workspace; "": the file's name
	Labels map[string]string
}

// Import reads a token list from a file: what `databricks token-management
// list -o json` writes, the API's own answer, or a token report as CSV. A
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
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

func importList(ctx context.Context, path string, o ImportOptions) (*tokenList, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, importError(path, reasonNotFound, "Give a file with a token list.", err)
	}
	defer file.Close()
	body := newSpool(o.SpoolDir, tokensLimit)
	list, err := fillImport(ctx, path, file, body, o)
	if err != nil {
		discard(body)
		return nil, err
	}
	return list, nil
}

func fillImport(ctx context.Context, path string, from io.Reader, body *spool, o ImportOptions) (*tokenList, error) {
	reader, csv, err := sniff(ctx, path, from)
	if err != nil {
		return nil, importError(path, reasonBadBody, "Write the list as UTF-8: JSON, or CSV with a header.", err)
	}
	w := windowAt(o.Now())
	if csv {
		return importCSV(path, reader, body, w)
	}
	if _, err := io.Copy(body, reader); err != nil {
		return nil, importError(path, reasonSpool, "Check the file and the room for temporary files.", err)
	}
	list, problem := readTokenList("token list", body, w, true)
	if problem != nil {
		return nil, importError(path, problem.Reason,
			"Import the output of `databricks token-management list -o json`.", problem.withoutReason())
	}
	return list, nil
}

func importError(path, reason, hint string, err error) error {
	return &engine.Error{Class: engine.ClassUsage, Reason: reason, Op: "import", Target: path, Hint: hint, Err: err}
}

// sniff skips a byte order mark and tells CSV from JSON by the first character.
func sniff(ctx context.Context, path string, from io.Reader) (r io.Reader, csv bool, err error) {
	buffered := bufio.NewReaderSize(cancellable{ctx, from}, copyBufBytes)
	head, err := buffered.Peek(512)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, false, err
	case bytes.HasPrefix(head, []byte("\xFF\xFE")), bytes.HasPrefix(head, []byte("\xFE\xFF")):
		return nil, false, fmt.Errorf("the file is UTF-16")
	case bytes.HasPrefix(head, []byte("\xEF\xBB\xBF")):
		_, _ = buffered.Discard(3) // it was peeked at
		head = head[3:]
	}
	head = bytes.TrimLeft(head, jsonSpace)
	if len(head) == 0 {
		return nil, false, fmt.Errorf("the file is empty")
	}
	return buffered, strings.EqualFold(filepath.Ext(path), ".csv") || head[0] != '{' && head[0] != '[', nil
}

// cancellable ends reading when the context ends.
type cancellable struct {
	ctx context.Context
	io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}

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
		name := firstOf(p.workspace.name, o.Name)
		if len(parts) > 1 && p.workspace.name == "" && p.workspace.id != "" {
			name += "-" + p.workspace.id
		}
		outcomes = append(outcomes, Outcome{
			Target:  Target{Name: name, Labels: o.Labels},
			Capture: importCapture(name, p.workspace.id, l.section(p), o),
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
