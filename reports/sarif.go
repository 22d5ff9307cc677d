package reports

import (
	"cmp"
	"compress/flate"
	"context"
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

// writeSARIFWithin writes the first file, which tells how many results are left out.
func writeSARIFWithin(ctx context.Context, w io.Writer, r engine.Report, limits sarifLimits) error {
	s, err := newSARIF(ctx, r, limits)
	if err != nil {
		return err
	}
	defer s.findings.Stop()
	s.alone = true
	return s.file(w)
}

// sarifParts writes all results, in as many files as they need.
func sarifParts(ctx context.Context, r engine.Report, limits sarifLimits) iter.Seq[Part] {
	return func(yield func(Part) bool) {
		s, err := newSARIF(ctx, r, limits)
		if err != nil {
			yield(func(io.Writer) error { return err })
			return
		}
		defer s.findings.Stop()
		for more := true; more; more = s.findings.More {
			if !yield(s.file) {
				return
			}
		}
	}
}

// sarifLog is a log over all its files.
type sarifLog struct {
	limits   sarifLimits
	alone    bool // there is one file only
	report   engine.Report
	rules    map[string]int // index by policy
	places   []place        // of each rule
	findings *table.Cursor[engine.Finding]

	runs    int // written so far, over all files
	results int
	files   int
}

// newSARIF begins to read the findings that are results. What could not be judged is
// none, but a notification of the first run: an alert would be closed as fixed by
// whoever restores the access.
func newSARIF(ctx context.Context, r engine.Report, limits sarifLimits) (*sarifLog, error) {
	s := &sarifLog{limits: limits, report: r, rules: map[string]int{}}
	for i, p := range r.Policies {
		s.rules[p.Policy.ID] = i
		s.places = append(s.places, placeOf(p.Policy))
	}
	var err error
	s.findings, err = table.Pull(ctx, func(yield func(engine.Finding, error) bool) {
		for f, err := range r.Findings {
			if err == nil && !f.Status.Judged() {
				continue
			}
			if _, known := s.rules[f.Policy]; !known && err == nil {
				err = fmt.Errorf("finding of policy %q, which is no part of the report", f.Policy)
			}
			if !yield(f, err) {
				return
			}
		}
	})
	if err != nil {
		s.findings.Stop()
	}
	return s, err
}

// file writes one log.
func (s *sarifLog) file(w io.Writer) error {
	s.files++
	var packed byteCounter // what the file takes once compressed
	pack, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		return err
	}
	full := func() bool { return int64(packed) >= s.limits.packed }
	runs := table.List(func(run func(any) error) error {
		for n := 1; n == 1 || s.findings.More && n <= s.limits.runs && !full(); n++ {
			if err := run(s.run(n == s.limits.runs, full)); err != nil {
				return err
			}
		}
		return nil
	})
	return table.WriteJSON(io.MultiWriter(w, pack), table.Tall{
		"$schema", "https://json.schemastore.org/sarif-2.1.0.json",
		"version", "2.1.0",
		"runs", runs,
	})
}

// run is one run, whose results are read as it is written. The first one of all
// says what is to be said of the audit itself, the last one of a file (which it is where
// the file is full, too) what became of the results that do not fit.
func (s *sarifLog) run(last bool, full func() bool) table.Tall {
	s.runs++
	first := s.runs == 1
	// Code scanning takes what stands before the last slash of the id for the category,
	// and one run of each category. What would be has categories of its own, so that it
	// closes no alert of what is.
	id, about := "patrol", any(table.Absent{})
	if text := WhatIf(s.report); text != "" {
		id, about = "patrol-what-if", sarifText(plainSARIF(text))
	}
	if !first {
		id += fmt.Sprintf("-%d", s.runs)
	}
	var properties any = table.Absent{}
	if first {
		properties = table.Object{"snapshots", table.Map(s.report.Workspaces, func(w engine.WorkspaceReport) table.Object {
			return table.Object{"workspace_id", w.Snapshot.Workspace.ID, "snapshot_digest", w.Snapshot.Digest}
		})}
	}
	results := table.List(func(result func(any) error) error {
		for n := 0; s.findings.More && n < s.limits.results && !full(); n++ {
			if err := result(s.result(s.findings.Row)); err != nil {
				return err
			}
			s.results++
			if err := s.findings.Next(); err != nil {
				return err
			}
		}
		return nil
	})
	invocations := table.List(func(invocation func(any) error) error {
		notifications := []table.Object{}
		if first {
			notifications = s.notifications()
		}
		switch {
		case !s.findings.More || !last && !full():
		case s.alone:
			left := 0
			for s.findings.More {
				left++
				if err := s.findings.Next(); err != nil {
					return err
				}
			}
			notifications = append(notifications, notification("warning", "limit", fmt.Sprintf(
				"%s results are left out: one upload takes no more than the %s worst that are here. With --output-dir the others are written to audit-2.sarif and so on.",
				engine.Comma(left), engine.Comma(s.results))))
		default:
			notifications = append(notifications, notification("note", "limit",
				fmt.Sprintf("The results after the first %s are in %s: one upload takes no more.", engine.Comma(s.results), partFile("audit.sarif", s.files+1))))
		}
		return invocation(table.Object{"executionSuccessful", s.report.Verdict() != engine.Incomplete, "toolExecutionNotifications", notifications})
	})
	rules := table.Map(s.report.Policies, func(p engine.PolicyReport) table.Object { return ruleSARIF(p.Policy) })
	return table.Tall{
		"tool", table.Object{"driver", table.Object{"name", "patrol", "version", table.NotEmpty(s.report.Version), "language", sarifLanguage, "rules", rules}},
		"automationDetails", table.Object{"id", id + "/", "description", about},
		"language", sarifLanguage,
		"properties", properties,
		"results", results,
		"invocations", invocations,
	}
}

// notifications tell of policies that came to no verdict and of sections that were not
// read whole.
func (s *sarifLog) notifications() []table.Object {
	list := []table.Object{}
	for i, p := range s.report.Policies {
		for _, status := range []engine.Status{engine.Errored, engine.Unknown} {
			n := p.Tally[status]
			if n == 0 {
				continue
			}
			level := "warning"
			if status == engine.Errored {
				level = "error"
			}
			text := fmt.Sprintf("%s (%s): %s could not be judged (%s)", p.Policy.ID, p.Policy.Title, engine.Plural(n, string(p.Policy.Resource)), status)
			list = append(list, append(notification(level, string(status), text), "associatedRule", table.Object{"id", p.Policy.ID, "index", i}))
		}
	}
	for _, w := range s.report.Workspaces {
		for _, gap := range w.Snapshot.Gaps() {
			list = append(list, notification("warning", "coverage", gapText(w.Snapshot.Workspace.Name, gap)))
		}
	}
	return list
}

func notification(level, id, text string) table.Object {
	return table.Object{"level", level, "message", sarifText(plainSARIF(engine.SafeText(text))), "descriptor", table.Object{"id", id}}
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

// sarifLanguage is that of all texts that are ours.
const sarifLanguage = "en-US"

func sarifText(text string) table.Object { return table.Object{"text", text} }

// What code scanning takes of a rule.
const (
	sarifName    = 255 // characters
	sarifSummary = 1024
	sarifTags    = 10
)

// securitySeverity is the score that code scanning grades alerts by: above 9.0
// critical, from 7.0 high, from 4.0 medium, from 0.1 low.
var securitySeverity = map[engine.Severity]string{engine.Critical: "9.5", engine.High: "8.0", engine.Medium: "5.5", engine.Low: "2.0"}

func sarifLevel(s engine.Severity) string {
	switch s {
	case engine.Critical, engine.High:
		return "error"
	case engine.Medium:
		return "warning"
	}
	return "note"
}

// ruleSARIF describes a policy. No text may be empty.
func ruleSARIF(p engine.Policy) table.Object {
	title := cmp.Or(prose(p.Title), p.ID)
	about := cmp.Or(prose(p.Description), title)
	help := about
	if p.Remediation != "" {
		help += "\n\nWhat to do: " + prose(p.Remediation)
	}
	var enabled any = table.Absent{} // it is
	if p.Off != "" {
		enabled = false
	}
	tags := []string{"security"}
	for _, framework := range engine.SortedKeys(p.Controls) {
		for _, control := range p.Controls[framework] {
			tags = append(tags, framework+"/"+control)
		}
	}
	return table.Object{
		"id", p.ID,
		"name", cutText(title, sarifName),
		"shortDescription", sarifText(cutText(title, sarifSummary)),
		"fullDescription", sarifText(cutText(about, sarifSummary)),
		"help", sarifText(engine.SafeLines(help)),
		"defaultConfiguration", table.Object{"level", sarifLevel(p.Severity), "enabled", enabled},
		"properties", table.Object{"tags", tags[:min(len(tags), sarifTags)], "security-severity", table.NotEmpty(securitySeverity[p.Severity])},
	}
}

// cutText makes text harmless and cuts it to a number of characters.
func cutText(text string, limit int) string {
	runes := []rune(engine.SafeText(text))
	if len(runes) <= limit {
		return string(runes)
	}
	return string(runes[:limit-1]) + "…"
}

func (s *sarifLog) result(f engine.Finding) table.Object {
	index := s.rules[f.Policy]
	where := s.places[index]
	var provenance, suppressions any = table.Absent{}, table.Absent{}
	if !f.Since.IsZero() {
		provenance = table.Object{"firstDetectionTimeUtc", table.TimeText(f.Since)}
	}
	if why := excuse(f); why != "" {
		suppressions = []table.Object{{"kind", "external", "status", "accepted", "justification", why}}
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
		"suppressions", suppressions,
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
func plainSARIF(text string) string { return strings.NewReplacer(`[`, `\[`, `]`, `\]`).Replace(text) }

// excuse says who excused a finding, why and until when; "" where nobody did.
func excuse(f engine.Finding) string {
	switch {
	case f.Status == engine.Baselined:
		return "known to the baseline"
	case f.Status != engine.Waived:
		return ""
	case f.Waiver == nil:
		return "waived"
	}
	w := f.Waiver
	text := fmt.Sprintf("waiver %s: %s; approved by %s", w.ID, w.Reason, w.Approver)
	if w.Ticket != "" {
		text += ", " + w.Ticket
	}
	return engine.SafeText(text + ", until " + w.Expires)
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

// placeOf finds the first rule that denies in a policy's file. A finding is about a
// token, which has no file: code scanning asks for one all the same, and the policy is
// what a reader wants to see.
func placeOf(p engine.Policy) place {
	dir := path.Clean(p.Pack)
	switch {
	case p.Pack == "" || p.Pack == "built-in":
		dir = "policies"
	case path.IsAbs(dir) || strings.HasPrefix(dir, ".."): // it tells more of the machine than of the policy
		dir = path.Base(dir)
	}
	parts := strings.Split(path.Join(dir, cmp.Or(p.File, strings.ToLower(p.ID)+".rego")), "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	lines := strings.Split(p.Source, "\n")
	denies := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "deny ") })
	return place{strings.Join(parts, "/"), max(denies, 0) + 1}
}
