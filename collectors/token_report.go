package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"patrol/engine"
)

const (
	hintTokenReport     = "Export the token report of the account console as CSV and name the file with --token-report."
	reasonTokensUnread  = "tokens_unread"
	reasonTokensPartial = "tokens_partial"
)

// TokenReport compares the account's report of all tokens, which has no API,
// with the list of tokens that was read.
func (set) TokenReport() Collector {
	return Collector{
		Section:   engine.SectionTokenReport,
		Doc:       "how the account console's token report, an exported file, differs from what was read",
		Rights:    "none: the report is a file",
		OnRequest: hintTokenReport,
		Flag:      "--token-report",
		Order:     95,
	}
}

// TokenReport is an exported token report: which tokens it names of which
// workspace. It takes some 150 bytes a token.
type TokenReport struct {
	workspaces map[string]*reportPart // by id or name, as the report has it
}

// reportPart is what a report says of a workspace.
type reportPart struct {
	tokens  []engine.Token // id and dates; ascending by id
	undated int            // whose dates could not be read
}

// OpenTokenReport reads a file. The error is of ClassUsage and names the line.
func OpenTokenReport(ctx context.Context, path string) (*TokenReport, error) {
	r := &TokenReport{workspaces: map[string]*reportPart{}}
	columns := slices.Clone(importColumns) // those of an import: a report must name workspaces, too
	for i, column := range columns {
		if column.field == workspaceIDKey || column.field == workspaceNameKey {
			columns[i].needed = workspaceIDKey
		}
	}
	type key struct{ workspace, token string }
	lines := map[key]int{}
	line := 0
	file, err := openTable(ctx, path, nil)
	if err == nil {
		defer discard(file)
		if !file.isCSV {
			err = errors.New("it is no CSV")
		}
	}
	if err == nil {
		line, err = file.eachRow(columns, func(row record) error {
			workspace, token := cmp.Or(row.workspace()), row.text("token_id")
			before, twice := lines[key{workspace, token}]
			switch {
			case token == "":
				return errors.New("the row has no token id")
			case workspace == "":
				return errors.New("the row has no workspace")
			case twice:
				return fmt.Errorf("the token stands in line %d, too", before)
			}
			lines[key{workspace, token}] = row.line
			if row.text("never_expires") == "true" { // as patrol writes it
				row.fields["expiry_time"] = "never"
			}
			part := r.workspaces[workspace]
			if part == nil {
				part = &reportPart{}
				r.workspaces[workspace] = part
			}
			t := engine.Token{ID: token}
			if ms, ok := importTime(row.text("creation_time")); ok && ms > 0 {
				t.Created = &ms
			}
			if ms, ok := importTime(row.text("expiry_time")); ok && (ms > 0 || ms == engine.NeverExpires) {
				t.Expires = &ms
			}
			if t.Created == nil || t.Expires == nil {
				part.undated++
			}
			part.tokens = append(part.tokens, t)
			return nil
		})
	}
	if err != nil {
		return nil, fileError("read token report", "token_report", path, line, hintTokenReport, err)
	}
	for _, part := range r.workspaces {
		slices.SortFunc(part.tokens, func(a, b engine.Token) int { return strings.Compare(a.ID, b.ID) })
	}
	return r, nil
}

// of is what the report says of a workspace, by its id, else by its name.
func (r *TokenReport) of(w engine.Workspace) *reportPart {
	if part := r.workspaces[w.ID]; part != nil {
		return part
	}
	return r.workspaces[w.Name]
}

// Beyond counts the report's tokens of other workspaces than these, and names
// those workspaces, sorted.
func (r *TokenReport) Beyond(read []engine.Workspace) (tokens int, workspaces []string) {
	known := map[*reportPart]bool{}
	for _, w := range read {
		known[r.of(w)] = true
	}
	for _, name := range engine.SortedKeys(r.workspaces) {
		if part := r.workspaces[name]; !known[part] {
			tokens += len(part.tokens)
			workspaces = append(workspaces, name)
		}
	}
	return tokens, workspaces
}

// section compares the report with the list that was read. That the report
// names no token of the workspace may mean that the export left it out.
func (r *TokenReport) section(w engine.Workspace, read engine.Section, at time.Time) engine.Section {
	part := r.of(w)
	switch {
	case !read.Coverage.Usable():
		return failed(problemOf(reasonTokensUnread, "Correct what keeps the section tokens from being read.",
			"the list of tokens was not read: there is nothing to compare the report with"))
	case part == nil && read.Coverage.Count > 0:
		return failed(problemOf(reasonNoRows, hintTokenReport, "the token report has no row of workspace %s", engine.SafeText(cmp.Or(w.ID, w.Name))))
	case part == nil:
		part = &reportPart{}
	}
	d := engine.ReportComparison{MissingHere: []engine.UnmatchedToken{}, MissingThere: []engine.UnmatchedToken{}}
	alone := func(t engine.Token) engine.UnmatchedToken {
		facts := engine.Derive(t, at.UnixMilli())
		return engine.UnmatchedToken{ID: t.ID, AgeDays: facts.AgeDays, Expired: facts.Expired}
	}
	rest := part.tokens // both lists are ascending by id
	for token, err := range read.Tokens {
		if err != nil {
			return failed(problemOf(reasonSpool, "Run it again.", "compare the token report: %v", err))
		}
		d.Counts.Read++
		for len(rest) > 0 && rest[0].ID < token.ID {
			d.MissingHere = append(d.MissingHere, alone(rest[0]))
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0].ID == token.ID {
			rest = rest[1:]
			continue
		}
		d.MissingThere = append(d.MissingThere, alone(token))
	}
	for _, token := range rest {
		d.MissingHere = append(d.MissingHere, alone(token))
	}
	d.Counts.Report, d.Counts.Both = len(part.tokens), d.Counts.Read-len(d.MissingThere)
	d.Counts.MissingHere, d.Counts.MissingThere = len(d.MissingHere), len(d.MissingThere)
	d.MissingHere, d.MissingThere = oldest(d.MissingHere), oldest(d.MissingThere)
	coverage := engine.Coverage{Status: engine.Complete, Count: len(part.tokens)}
	if part.undated > 0 {
		coverage.Detail = fmt.Sprintf("%d rows of the report have dates that cannot be read", part.undated)
	}
	if !read.Coverage.Complete() {
		coverage.Status, coverage.Reason = engine.Partial, reasonTokensPartial
		coverage.Detail = "the list of tokens is not whole: " + read.Coverage.Detail
	}
	return engine.Section{Coverage: coverage, Document: document(d)}
}

// oldest sorts those that nothing excuses to the front, and bounds the list.
func oldest(tokens []engine.UnmatchedToken) []engine.UnmatchedToken {
	expired := func(t engine.UnmatchedToken) int {
		if t.Expired != nil && *t.Expired {
			return 1
		}
		return 0
	}
	age := func(t engine.UnmatchedToken) int64 {
		if t.AgeDays == nil {
			return math.MaxInt64
		}
		return *t.AgeDays
	}
	slices.SortFunc(tokens, func(a, b engine.UnmatchedToken) int {
		return cmp.Or(cmp.Compare(expired(a), expired(b)), cmp.Compare(age(b), age(a)), strings.Compare(a.ID, b.ID))
	})
	return tokens[:min(len(tokens), engine.MostUnmatched)]
}
