package reports

import (
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"path"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// SARIF is the findings for code scanning.
func (catalogue) SARIF() Format {
	return Format{
		Name: "sarif",
		File: "audit.sarif",
		Doc:  "SARIF 2.1.0 for code scanning; audit-2.sarif and so on beyond what one upload takes",
		Write: func(ctx context.Context, w io.Writer, r engine.Report) error {
			return writeSARIFWithin(ctx, w, r, codeScanning())
		},
		Parts: func(ctx context.Context, r engine.Report) iter.Seq[Part] { return sarifParts(ctx, r, codeScanning()) },
	}
}

// sarifLimits is what a reader takes of one file.
type sarifLimits struct {
	results int   // per run
	runs    int   // per file
	packed  int64 // bytes of the file once compressed
}

// codeScanning are the limits of GitHub. It takes 25,000 results a run and
// shows the first 5,000 of them: runs of 5,000 lose none. It takes 10 MB of
// gzip; ours are counted with the fastest and so largest compression.
func codeScanning() sarifLimits { return sarifLimits{results: 5_000, runs: 20, packed: 9_500_000} }

// writeSARIFWithin writes the first part and tells in it how many results are
// left out.
func writeSARIFWithin(ctx context.Context, w io.Writer, r engine.Report, limits sarifLimits) error {
	s, err := newSARIF(ctx, r, limits)
	if err != nil {
		return err
	}
	defer s.stop()
	return s.file(w, s.leaveOut)
}

// sarifParts writes all results, in as many files as they need.
func sarifParts(ctx context.Context, r engine.Report, limits sarifLimits) iter.Seq[Part] {
	return func(yield func(Part) bool) {
		s, err := newSARIF(ctx, r, limits)
		if err != nil {
			yield(func(io.Writer) error { return err })
			return
		}
		defer s.stop()
		for more := true; more; more = s.pending != nil {
			if !yield(func(w io.Writer) error { return s.file(w, s.continueElsewhere) }) {
				return
			}
		}
	}
}

// sarifLog is a log in the making, over all its files.
type sarifLog struct {
	sarifLimits
	report engine.Report
	tool   table.Object
	rules  map[string]int // index by policy
	places []place        // of each rule

	next    func() (engine.Finding, error, bool)
	stop    func()
	pending *engine.Finding // read, not yet written

	runs    int // written, over all files
	results int
	files   int
}

func newSARIF(ctx context.Context, r engine.Report, limits sarifLimits) (*sarifLog, error) {
	s := &sarifLog{sarifLimits: limits, report: r, rules: map[string]int{}}
	rules := []table.Object{}
	for i, p := range r.Policies {
		s.rules[p.Policy.ID] = i
		s.places = append(s.places, placeOf(p.Policy))
		rules = append(rules, ruleSARIF(p.Policy))
	}
	s.tool = table.Object{"driver", table.Object{"name", "patrol", "version", table.NotEmpty(r.Version), "language", sarifLanguage, "rules", rules}}
	next, stop := iter.Pull2(r.Findings)
	s.stop = stop
	s.next = func() (engine.Finding, error, bool) {
		f, err, ok := next()
		return f, errors.Join(ctx.Err(), err), ok
	}
	if err := s.advance(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// advance reads the next finding that is a result. What could not be judged is
// none: it is a notification of the first run.
func (s *sarifLog) advance() error {
	s.pending = nil
	for {
		f, err, ok := s.next()
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		if !f.Status.Judged() {
			continue
		}
		if _, known := s.rules[f.Policy]; !known {
			return fmt.Errorf("finding of policy %q, which is no part of the report", f.Policy)
		}
		s.pending = &f
		return nil
	}
}

// file writes one log, and what the last run says of the results that do not
// fit.
func (s *sarifLog) file(w io.Writer, rest func() (table.Object, error)) error {
	s.files++
	var packed byteCounter // what the file takes once compressed
	pack, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		return err
	}
	out := table.NewJSONWriter(io.MultiWriter(w, pack))
	out.Open("{")
	if err := out.Member("  ", "$schema", "https://json.schemastore.org/sarif-2.1.0.json"); err != nil {
		return err
	}
	if err := out.Member("  ", "version", "2.1.0"); err != nil {
		return err
	}
	out.Key("  ", "runs")
	out.Open("[")
	full := func() bool { return int64(packed) >= s.packed }
	for run := 0; run == 0 || s.pending != nil && run < s.sarifLimits.runs && !full(); run++ {
		if err := s.run(out, run == s.sarifLimits.runs-1, full, rest); err != nil {
			return err
		}
	}
	out.Close("  ", "]")
	out.Close("", "}")
	return out.End()
}

// run writes one run.
func (s *sarifLog) run(out *table.JSONWriter, last bool, full func() bool, rest func() (table.Object, error)) error {
	s.runs++
	out.Next("    ")
	out.Open("{")
	if err := errors.Join(out.Member("      ", "tool", s.tool), out.Member("      ", "automationDetails", automation(s.report, s.runs)), out.Member("      ", "language", sarifLanguage)); err != nil {
		return err
	}
	if s.runs == 1 {
		snapshots := table.Map(s.report.Workspaces, func(w engine.WorkspaceReport) table.Object {
			return table.Object{"workspace_id", w.Snapshot.Workspace.ID, "snapshot_digest", w.Snapshot.Digest}
		})
		if err := out.Member("      ", "properties", table.Object{"snapshots", snapshots}); err != nil {
			return err
		}
	}
	out.Key("      ", "results")
	out.Open("[")
	for n := 0; s.pending != nil && n < s.sarifLimits.results && !full(); n++ {
		out.Next("        ")
		if err := out.Value(s.result(*s.pending)); err != nil {
			return err
		}
		s.results++
		if err := s.advance(); err != nil {
			return err
		}
	}
	out.Close("      ", "]")
	notifications := []table.Object{} // what the run says of the audit itself
	if s.runs == 1 {
		notifications = append(s.unjudged(), s.unread()...)
	}
	if s.pending != nil && (last || full()) {
		more, err := rest()
		if err != nil {
			return err
		}
		notifications = append(notifications, more)
	}
	invocation := table.Object{"executionSuccessful", s.report.Verdict() != engine.Incomplete, "toolExecutionNotifications", notifications}
	if err := out.Member("      ", "invocations", []table.Object{invocation}); err != nil {
		return err
	}
	out.Close("    ", "}")
	return nil
}

// sarifLanguage is that of all texts that are ours.
const sarifLanguage = "en-US"

func sarifText(text string) table.Object { return table.Object{"text", text} }

// What code scanning takes of a rule.
const (
	sarifName    = 255 // characters
	sarifSummary = 1024
	sarifTags    = 10
)

// ruleSARIF describes a policy. No text may be empty.
func ruleSARIF(p engine.Policy) table.Object {
	title := orText(prose(p.Title), p.ID)
	about := orText(prose(p.Description), title)
	help := about
	if p.Remediation != "" {
		help += "\n\nWhat to do: " + prose(p.Remediation)
	}
	var enabled any = table.Absent{} // it is
	if p.Off != "" {
		enabled = false
	}
	return table.Object{
		"id", p.ID,
		"name", cutText(title, sarifName),
		"shortDescription", sarifText(cutText(title, sarifSummary)),
		"fullDescription", sarifText(cutText(about, sarifSummary)),
		"help", sarifText(engine.SafeLines(help)),
		"defaultConfiguration", table.Object{"level", sarifLevel(p.Severity), "enabled", enabled},
		"properties", table.Object{"tags", controlTags(p.Controls), "security-severity", table.NotEmpty(securitySeverity(p.Severity))},
	}
}

func orText(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// cutText makes text harmless and cuts it to a number of characters.
func cutText(text string, limit int) string {
	runes := []rune(engine.SafeText(text))
	if len(runes) <= limit {
		return string(runes)
	}
	return string(runes[:limit-1]) + "…"
}

func controlTags(controls map[string][]string) []string {
	tags := []string{"security"}
	for _, framework := range engine.SortedKeys(controls) {
		for _, control := range controls[framework] {
			tags = append(tags, framework+"/"+control)
		}
	}
	return tags[:min(len(tags), sarifTags)]
}

func sarifLevel(s engine.Severity) string {
	switch s {
	case engine.Critical, engine.High:
		return "error"
	case engine.Medium:
		return "warning"
	}
	return "note"
}

// securitySeverity is the score that code scanning grades alerts by: above 9.0
// critical, from 7.0 high, from 4.0 medium, from 0.1 low.
func securitySeverity(s engine.Severity) string {
	switch s {
	case engine.Critical:
		return "9.5"
	case engine.High:
		return "8.0"
	case engine.Medium:
		return "5.5"
	case engine.Low:
		return "2.0"
	}
	return ""
}

func (s *sarifLog) result(f engine.Finding) table.Object {
	index := s.rules[f.Policy]
	where := s.places[index]
	var provenance any = table.Absent{}
	if !f.Since.IsZero() {
		provenance = table.Object{"firstDetectionTimeUtc", table.TimeText(f.Since)}
	}
	return table.Object{
		"ruleId", f.Policy,
		"ruleIndex", index,
		"level", sarifLevel(f.Severity),
		"message", sarifText(plainSARIF(resultText(f))),
		"locations", []table.Object{{
			"physicalLocation", table.Object{"artifactLocation", table.Object{"uri", where.uri}, "region", table.Object{"startLine", where.line}},
			"logicalLocations", []table.Object{{
				"name", engine.SafeText(f.ResourceID),
				"fullyQualifiedName", engine.SafeText(f.WorkspaceID + "/" + string(f.Resource) + "/" + f.ResourceID),
				"kind", f.Resource,
			}},
		}},
		"partialFingerprints", table.Object{"primaryLocationLineHash", f.Fingerprint},
		"suppressions", suppressions(f),
		"provenance", provenance,
		"properties", table.Object{
			"severity", f.Severity,
			"status", f.Status,
			"workspace", engine.SafeText(f.Workspace),
			"workspace_id", f.WorkspaceID,
			"owner", table.NotEmpty(engine.SafeText(f.Owner)),
			"evidence", table.NotEmpty(f.Evidence),
			"remedy", table.NotEmpty(f.Remedy),
		},
	}
}

// resultText says what is wrong with which token: a list of alerts shows
// nothing else.
func resultText(f engine.Finding) string {
	text := f.Message + " (workspace " + f.Workspace
	if f.Resource != engine.ResourceWorkspace {
		text += ", " + string(f.Resource) + " " + f.ResourceID
	}
	if f.Owner != "" {
		text += ", owner " + f.Owner
	}
	return engine.SafeText(text + ")")
}

// plainSARIF keeps foreign text from making links: [text](target) is one in a
// message.
func plainSARIF(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, `[`, `\[`), `]`, `\]`)
}

func suppressions(f engine.Finding) any {
	why := ""
	switch f.Status {
	case engine.Waived:
		why = waiverText(f.Waiver)
	case engine.Baselined:
		why = "known to the baseline"
	default:
		return table.Absent{}
	}
	return []table.Object{{"kind", "external", "status", "accepted", "justification", why}}
}

// waiverText says who excused what, why and until when.
func waiverText(w *engine.Waiver) string {
	if w == nil {
		return "waived"
	}
	text := fmt.Sprintf("waiver %s: %s; approved by %s", w.ID, w.Reason, w.Approver)
	if w.Ticket != "" {
		text += ", " + w.Ticket
	}
	return engine.SafeText(text + ", until " + w.Expires)
}

// unjudged reports policies that came to no verdict. These are no results:
// an alert would be closed as fixed by whoever restores the access.
func (s *sarifLog) unjudged() []table.Object {
	told := []table.Object{}
	for i, p := range s.report.Policies {
		for _, status := range []engine.Status{engine.Errored, engine.Unknown} {
			if n := p.Tally[status]; n > 0 {
				text := fmt.Sprintf("%s (%s): %s could not be judged (%s)", p.Policy.ID, p.Policy.Title, engine.Plural(n, string(p.Policy.Resource)), status)
				level := "warning"
				if status == engine.Errored {
					level = "error"
				}
				told = append(told, append(notification(level, text, string(status)), "associatedRule", table.Object{"id", p.Policy.ID, "index", i}))
			}
		}
	}
	return told
}

func notification(level, text, id string) table.Object {
	return table.Object{"level", level, "message", sarifText(plainSARIF(engine.SafeText(text))), "descriptor", table.Object{"id", id}}
}

// unread reports sections that were not read whole.
func (s *sarifLog) unread() (told []table.Object) {
	for _, w := range s.report.Workspaces {
		for _, gap := range w.Snapshot.Gaps() {
			told = append(told, notification("warning", gapText(w.Snapshot.Workspace.Name, gap), "coverage"))
		}
	}
	return told
}

// gapText says what of a workspace was not read, and why.
func gapText(workspace string, g engine.Gap) string {
	parts := slices.DeleteFunc([]string{string(g.Coverage.Status), g.Coverage.Reason}, func(s string) bool { return s == "" })
	text := fmt.Sprintf("workspace %s: %s not read whole: %s", workspace, g.Names(), strings.Join(slices.Compact(parts), ", "))
	for _, more := range []string{g.Coverage.Detail, g.Coverage.Hint} {
		if more != "" {
			text += "; " + more
		}
	}
	return text
}

// leaveOut reads the results that do not fit and says how many they are.
func (s *sarifLog) leaveOut() (table.Object, error) {
	left := 0
	for s.pending != nil {
		left++
		if err := s.advance(); err != nil {
			return nil, err
		}
	}
	text := fmt.Sprintf("%s results are left out: one upload takes no more than the %s worst that are here. With --output-dir the others are written to audit-2.sarif and so on.",
		engine.Comma(left), engine.Comma(s.results))
	return notification("warning", text, "limit"), nil
}

// continueElsewhere names the next file.
func (s *sarifLog) continueElsewhere() (table.Object, error) {
	text := fmt.Sprintf("The results after the first %s are in %s: one upload takes no more.", engine.Comma(s.results), partFile("audit.sarif", s.files+1))
	return notification("note", text, "limit"), nil
}

// automation names a run. Code scanning takes what stands before the last
// slash for the category, and one run of each category. What would be has
// categories of its own, so that it closes no alert of what is.
func automation(r engine.Report, run int) table.Object {
	id, about := "patrol", any(table.Absent{})
	if text := WhatIf(r); text != "" {
		id, about = "patrol-what-if", sarifText(plainSARIF(text))
	}
	if run > 1 {
		id += fmt.Sprintf("-%d", run)
	}
	return table.Object{"id", id + "/", "description", about}
}

// byteCounter counts what is written to it.
type byteCounter int64

func (c *byteCounter) Write(b []byte) (int, error) {
	*c += byteCounter(len(b))
	return len(b), nil
}

// place is a line of a policy's text, as a reader of a repository finds it.
type place struct {
	uri  string // relative, escaped
	line int    // from 1
}

// placeOf finds the rule in a policy's file. A finding is about a token, which
// has no file: code scanning asks for one all the same, and the policy is what
// a reader wants to see.
func placeOf(p engine.Policy) place {
	file := p.File
	if file == "" {
		file = strings.ToLower(p.ID) + ".rego"
	}
	return place{escapePath(path.Join(packDir(p.Pack), file)), ruleLine(p.Source)}
}

// packDir is where a pack lies. An absolute path tells more of the machine than
// of the policy: its last part stays.
func packDir(pack string) string {
	switch {
	case pack == "" || pack == "built-in":
		return "policies"
	case path.IsAbs(pack) || strings.HasPrefix(path.Clean(pack), ".."):
		return path.Base(pack)
	}
	return path.Clean(pack)
}

func escapePath(file string) string {
	parts := strings.Split(file, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// ruleLine is the line of the first rule that denies.
func ruleLine(source string) int {
	line := 1
	for text := range strings.SplitSeq(source, "\n") {
		if strings.HasPrefix(text, "deny ") {
			return line
		}
		line++
	}
	return 1
}
