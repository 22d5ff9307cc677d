package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
		Read: func(_ context.Context, c *Client) engine.Section {
			return c.o.TokenReport.section(c.identity(), c.session.tokens, c.now())
		},
	}
}

// TokenReport is an exported token report: which tokens it names of which
// workspace. It takes some 150 bytes a token.
type TokenReport struct {
	path       string
	workspaces map[string]*reportPart // by id or name, as the report has it
}

// reportPart is what a report says of a workspace.
type reportPart struct {
	tokens  []engine.Token // id and dates; ascending by id
	undated int            // whose dates could not be read
}

// OpenTokenReport reads a file. The error is of ClassUsage and names the line.
func OpenTokenReport(ctx context.Context, path string) (*TokenReport, error) {
	r := &TokenReport{path: path, workspaces: map[string]*reportPart{}}
	file, err := openTable(ctx, path, nil)
	if err != nil {
		return nil, r.wrong(0, err)
	}
	defer discard(file)
	if !file.isCSV {
		return nil, r.wrong(0, errors.New("it is no CSV"))
	}
	type key struct{ workspace, token string }
	lines := map[key]int{}
	for row, err := range file.records(reportColumns()) {
		if err != nil {
			return nil, r.wrong(row.line, err)
		}
		workspace, token := firstOf(row.workspace()), row.text("token_id")
		before, twice := lines[key{workspace, token}]
		switch {
		case token == "":
			return nil, r.wrong(row.line, errors.New("the row has no token id"))
		case workspace == "":
			return nil, r.wrong(row.line, errors.New("the row has no workspace"))
		case twice:
			return nil, r.wrong(row.line, fmt.Errorf("the token stands in line %d, too", before))
		}
		lines[key{workspace, token}] = row.line
		if row.text("never_expires") == "true" { // as patrol writes it
			row.fields["expiry_time"] = "never"
		}
		r.add(workspace, engine.Token{ID: token, Created: row.time("creation_time"), Expires: row.time("expiry_time")})
	}
	for _, part := range r.workspaces {
		slices.SortFunc(part.tokens, func(a, b engine.Token) int { return strings.Compare(a.ID, b.ID) })
	}
	return r, nil
}

// reportColumns are those of an import: a report must name workspaces, too.
func reportColumns() []columnOf {
	columns := slices.Clone(importColumns)
	for i, column := range columns {
		if column.field == workspaceIDKey || column.field == workspaceNameKey {
			columns[i].needed = workspaceIDKey
		}
	}
	return columns
}

func (r *TokenReport) wrong(line int, err error) error {
	target := r.path
	if line > 0 {
		target += ":" + strconv.Itoa(line)
	}
	return &engine.Error{Class: engine.ClassUsage, Reason: "token_report", Op: "read token report", Target: target, Hint: hintTokenReport, Err: err}
}

// time reads a field as ms; nil when it cannot be read.
func (row record) time(field string) *int64 {
	ms, ok := importTime(row.text(field))
	endless := ms == engine.NeverExpires && field == "expiry_time"
	if !ok || ms <= 0 && !endless {
		return nil
	}
	return &ms
}

func (r *TokenReport) add(workspace string, t engine.Token) {
	part := r.workspaces[workspace]
	if part == nil {
		part = &reportPart{}
		r.workspaces[workspace] = part
	}
	part.tokens = append(part.tokens, t)
	if t.Created == nil || t.Expires == nil {
		part.undated++
	}
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
	fail := func(reason, detail, hint string) engine.Section {
		return engine.Section{Coverage: engine.Coverage{Status: engine.Failed, Reason: reason, Detail: detail, Hint: hint}}
	}
	switch {
	case !read.Coverage.Usable():
		return fail(reasonTokensUnread, "the list of tokens was not read: there is nothing to compare the report with", "Correct what keeps the section tokens from being read.")
	case part == nil && read.Coverage.Count > 0:
		return fail(reasonNoRows, "the token report has no row of workspace "+engine.SafeText(firstOf(w.ID, w.Name)), hintTokenReport)
	case part == nil:
		part = &reportPart{}
	}
	differences, err := reconcile(part.tokens, read, at.UnixMilli())
	if err != nil {
		return fail(reasonSpool, "compare the token report: "+err.Error(), "Run it again.")
	}
	return engine.Section{Coverage: part.coverage(read), Document: document(differences)}
}

func (p *reportPart) coverage(read engine.Section) engine.Coverage {
	c := engine.Coverage{Status: engine.Complete, Count: len(p.tokens)}
	if p.undated > 0 {
		c.Detail = fmt.Sprintf("%d rows of the report have dates that cannot be read", p.undated)
	}
	if !read.Coverage.Complete() {
		c.Status, c.Reason = engine.Partial, reasonTokensPartial
		c.Detail = "the list of tokens is not whole: " + read.Coverage.Detail
	}
	return c
}

// reconcile walks both lists, ascending by id, side by side.
func reconcile(report []engine.Token, read engine.Section, at int64) (engine.ReportComparison, error) {
	d := engine.ReportComparison{MissingHere: []engine.UnmatchedToken{}, MissingThere: []engine.UnmatchedToken{}}
	d.Counts.Report = len(report)
	for token, err := range read.Tokens {
		if err != nil {
			return d, err
		}
		d.Counts.Read++
		for len(report) > 0 && report[0].ID < token.ID {
			d.MissingHere = append(d.MissingHere, reconciled(report[0], at))
			report = report[1:]
		}
		if len(report) > 0 && report[0].ID == token.ID {
			d.Counts.Both++
			report = report[1:]
			continue
		}
		d.MissingThere = append(d.MissingThere, reconciled(token, at))
	}
	for _, token := range report {
		d.MissingHere = append(d.MissingHere, reconciled(token, at))
	}
	d.Counts.MissingHere, d.Counts.MissingThere = len(d.MissingHere), len(d.MissingThere)
	d.MissingHere, d.MissingThere = oldest(d.MissingHere), oldest(d.MissingThere)
	return d, nil
}

func reconciled(t engine.Token, at int64) engine.UnmatchedToken {
	facts := engine.Derive(t, at)
	return engine.UnmatchedToken{ID: t.ID, AgeDays: facts.AgeDays, Expired: facts.Expired}
}

// oldest sorts those that nothing excuses to the front, and bounds the list.
func oldest(tokens []engine.UnmatchedToken) []engine.UnmatchedToken {
	rank := func(t engine.UnmatchedToken) (expired int, age int64) {
		if t.Expired != nil && *t.Expired {
			expired = 1
		}
		if t.AgeDays == nil {
			return expired, 1 << 62
		}
		return expired, *t.AgeDays
	}
	slices.SortFunc(tokens, func(a, b engine.UnmatchedToken) int {
		expiredA, ageA := rank(a)
		expiredB, ageB := rank(b)
		return cmp.Or(cmp.Compare(expiredA, expiredB), cmp.Compare(ageB, ageA), strings.Compare(a.ID, b.ID))
	})
	return tokens[:min(len(tokens), engine.MostUnmatched)]
}
