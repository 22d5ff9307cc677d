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
	ctx    context.Context
	report engine.Report
	tool   sarifTool
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
	s := &sarifLog{sarifLimits: limits, ctx: ctx, report: r, rules: map[string]int{}}
	s.tool = sarifTool{sarifComponent{Name: "patrol", Version: r.Version, Language: sarifLanguage, Rules: []sarifRule{}}}
	for i, p := range r.Policies {
		s.rules[p.Policy.ID] = i
		s.places = append(s.places, placeOf(p.Policy))
		s.tool.Driver.Rules = append(s.tool.Driver.Rules, ruleSARIF(p.Policy))
	}
	s.next, s.stop = iter.Pull2(r.Findings)
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
		if err = errors.Join(s.ctx.Err(), err); err != nil {
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
func (s *sarifLog) file(w io.Writer, rest func() ([]sarifNotification, error)) error {
	s.files++
	meter := newPackMeter()
	out := table.NewJSONWriter(io.MultiWriter(w, meter))
	out.Open("{")
	if err := out.Member("  ", "$schema", "https://json.schemastore.org/sarif-2.1.0.json"); err != nil {
		return err
	}
	if err := out.Member("  ", "version", "2.1.0"); err != nil {
		return err
	}
	out.Key("  ", "runs")
	out.Open("[")
	full := func() bool { return meter.packed >= s.packed }
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
func (s *sarifLog) run(out *table.JSONWriter, last bool, full func() bool, rest func() ([]sarifNotification, error)) error {
	s.runs++
	out.Next("    ")
	out.Open("{")
	if err := errors.Join(out.Member("      ", "tool", s.tool), out.Member("      ", "automationDetails", automation(s.report, s.runs)), out.Member("      ", "language", sarifLanguage)); err != nil {
		return err
	}
	if s.runs == 1 {
		if err := out.Member("      ", "properties", sarifRunProperties{table.Map(s.report.Workspaces, snapshotSARIF)}); err != nil {
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
	told, err := s.told(last || full(), rest)
	if err != nil {
		return err
	}
	if err := out.Member("      ", "invocations", []sarifInvocation{told}); err != nil {
		return err
	}
	out.Close("    ", "}")
	return nil
}

// told is what a run says of the audit itself.
func (s *sarifLog) told(last bool, rest func() ([]sarifNotification, error)) (sarifInvocation, error) {
	told := sarifInvocation{Successful: s.report.Verdict() != engine.Incomplete, Notifications: []sarifNotification{}}
	if s.runs == 1 {
		told.Notifications = append(told.Notifications, s.unjudged()...)
		told.Notifications = append(told.Notifications, s.unread()...)
	}
	if s.pending == nil || !last {
		return told, nil
	}
	more, err := rest()
	told.Notifications = append(told.Notifications, more...)
	return told, err
}

// What code scanning takes of a rule.
const (
	sarifName    = 255 // characters
	sarifSummary = 1024
	sarifTags    = 10
)

// ruleSARIF describes a policy. No text may be empty.
func ruleSARIF(p engine.Policy) sarifRule {
	title := orText(prose(p.Title), p.ID)
	about := orText(prose(p.Description), title)
	help := about
	if p.Remediation != "" {
		help += "\n\nWhat to do: " + prose(p.Remediation)
	}
	configuration := sarifConfiguration{Level: sarifLevel(p.Severity)}
	if p.Off != "" {
		configuration.Enabled = new(false)
	}
	return sarifRule{
		ID:      p.ID,
		Name:    cutText(title, sarifName),
		Short:   sarifText{cutText(title, sarifSummary)},
		Full:    sarifText{cutText(about, sarifSummary)},
		Help:    sarifText{engine.SafeLines(help)},
		Default: configuration,
		Properties: sarifRuleProperties{
			Tags:     controlTags(p.Controls),
			Severity: securitySeverity(p.Severity),
		},
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

func (s *sarifLog) result(f engine.Finding) sarifResult {
	index := s.rules[f.Policy]
	where := s.places[index]
	result := sarifResult{
		RuleID:    f.Policy,
		RuleIndex: index,
		Level:     sarifLevel(f.Severity),
		Message:   sarifText{plainSARIF(resultText(f))},
		Locations: []sarifLocation{{
			Physical: sarifPhysical{sarifArtifact{where.uri}, sarifRegion{where.line}},
			Logical: []sarifLogical{{
				Name: engine.SafeText(f.ResourceID), Kind: string(f.Resource),
				Full: engine.SafeText(f.WorkspaceID + "/" + string(f.Resource) + "/" + f.ResourceID),
			}},
		}},
		Fingerprints: map[string]string{"primaryLocationLineHash": f.Fingerprint},
		Suppressions: suppressions(f),
		Properties: sarifResultProperties{
			Severity: f.Severity, Status: f.Status, Workspace: engine.SafeText(f.Workspace), WorkspaceID: f.WorkspaceID,
			Owner: engine.SafeText(f.Owner), Evidence: f.Evidence, Remedy: f.Remedy,
		},
	}
	if !f.Since.IsZero() {
		result.Provenance = &sarifProvenance{table.TimeText(f.Since)}
	}
	return result
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

func suppressions(f engine.Finding) []sarifSuppression {
	switch f.Status {
	case engine.Waived:
		return []sarifSuppression{{Kind: "external", Status: "accepted", Justification: waiverText(f.Waiver)}}
	case engine.Baselined:
		return []sarifSuppression{{Kind: "external", Status: "accepted", Justification: "known to the baseline"}}
	}
	return nil
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
func (s *sarifLog) unjudged() []sarifNotification {
	var told []sarifNotification
	for i, p := range s.report.Policies {
		for _, status := range []engine.Status{engine.Errored, engine.Unknown} {
			if n := p.Tally[status]; n > 0 {
				text := fmt.Sprintf("%s (%s): %s could not be judged (%s)", p.Policy.ID, p.Policy.Title, engine.Plural(n, string(p.Policy.Resource)), status)
				told = append(told, s.notify(status, text, i))
			}
		}
	}
	return told
}

func (s *sarifLog) notify(status engine.Status, text string, rule int) sarifNotification {
	level := "warning"
	if status == engine.Errored {
		level = "error"
	}
	return sarifNotification{
		Level: level, Message: sarifText{plainSARIF(engine.SafeText(text))}, Descriptor: sarifRef{string(status)},
		Rule: &sarifIndex{s.report.Policies[rule].Policy.ID, rule},
	}
}

// unread reports sections that were not read whole.
func (s *sarifLog) unread() []sarifNotification {
	var told []sarifNotification
	for _, w := range s.report.Workspaces {
		for _, gap := range w.Snapshot.Gaps() {
			told = append(told, sarifNotification{
				Level: "warning", Descriptor: sarifRef{"coverage"},
				Message: sarifText{plainSARIF(engine.SafeText(gapText(w.Snapshot.Workspace.Name, gap)))},
			})
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
func (s *sarifLog) leaveOut() ([]sarifNotification, error) {
	left := 0
	for s.pending != nil {
		left++
		if err := s.advance(); err != nil {
			return nil, err
		}
	}
	text := fmt.Sprintf("%s results are left out: one upload takes no more than the %s worst that are here. With --output-dir the others are written to audit-2.sarif and so on.",
		engine.Comma(left), engine.Comma(s.results))
	return []sarifNotification{{Level: "warning", Message: sarifText{text}, Descriptor: sarifRef{"limit"}}}, nil
}

// continueElsewhere names the next file.
func (s *sarifLog) continueElsewhere() ([]sarifNotification, error) {
	text := fmt.Sprintf("The results after the first %s are in %s: one upload takes no more.", engine.Comma(s.results), partFile("audit.sarif", s.files+1))
	return []sarifNotification{{Level: "note", Message: sarifText{text}, Descriptor: sarifRef{"limit"}}}, nil
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifTool struct {
	Driver sarifComponent `json:"driver"`
}

type sarifComponent struct {
	Name     string      `json:"name"`
	Version  string      `json:"version,omitempty"`
	Language string      `json:"language"`
	Rules    []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID         string              `json:"id"`
	Name       string              `json:"name"`
	Short      sarifText           `json:"shortDescription"`
	Full       sarifText           `json:"fullDescription"`
	Help       sarifText           `json:"help"`
	Default    sarifConfiguration  `json:"defaultConfiguration"`
	Properties sarifRuleProperties `json:"properties"`
}

type sarifConfiguration struct {
	Level   string `json:"level"`
	Enabled *bool  `json:"enabled,omitempty"` // absent: it is
}

type sarifRuleProperties struct {
	Tags     []string `json:"tags"`
	Severity string   `json:"security-severity,omitempty"`
}

// sarifLanguage is that of all texts that are ours.
const sarifLanguage = "en-US"

type sarifAutomation struct {
	ID          string     `json:"id"`
	Description *sarifText `json:"description,omitempty"`
}

// sarifRunProperties say in the first run what was judged.
type sarifRunProperties struct {
	Snapshots []sarifSnapshot `json:"snapshots"`
}

type sarifSnapshot struct {
	WorkspaceID string `json:"workspace_id"`
	Digest      string `json:"snapshot_digest"`
}

func snapshotSARIF(w engine.WorkspaceReport) sarifSnapshot {
	return sarifSnapshot{w.Snapshot.Workspace.ID, w.Snapshot.Digest}
}

type sarifInvocation struct {
	Successful    bool                `json:"executionSuccessful"`
	Notifications []sarifNotification `json:"toolExecutionNotifications"`
}

type sarifNotification struct {
	Level      string      `json:"level"`
	Message    sarifText   `json:"message"`
	Descriptor sarifRef    `json:"descriptor"`
	Rule       *sarifIndex `json:"associatedRule,omitempty"`
}

type sarifRef struct {
	ID string `json:"id"`
}

type sarifIndex struct {
	ID    string `json:"id"`
	Index int    `json:"index"`
}

type sarifResult struct {
	RuleID       string                `json:"ruleId"`
	RuleIndex    int                   `json:"ruleIndex"`
	Level        string                `json:"level"`
	Message      sarifText             `json:"message"`
	Locations    []sarifLocation       `json:"locations"`
	Fingerprints map[string]string     `json:"partialFingerprints"`
	Suppressions []sarifSuppression    `json:"suppressions,omitempty"`
	Provenance   *sarifProvenance      `json:"provenance,omitempty"` // nil: not known
	Properties   sarifResultProperties `json:"properties"`
}

// sarifProvenance tells since when a result stands.
type sarifProvenance struct {
	First string `json:"firstDetectionTimeUtc"`
}

type sarifLocation struct {
	Physical sarifPhysical  `json:"physicalLocation"`
	Logical  []sarifLogical `json:"logicalLocations"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
	Region   sarifRegion   `json:"region"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine int `json:"startLine"`
}

type sarifLogical struct {
	Name string `json:"name"`
	Full string `json:"fullyQualifiedName"`
	Kind string `json:"kind"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Status        string `json:"status"`
	Justification string `json:"justification"`
}

type sarifResultProperties struct {
	Severity    engine.Severity `json:"severity"`
	Status      engine.Status   `json:"status"`
	Workspace   string          `json:"workspace"`
	WorkspaceID string          `json:"workspace_id"`
	Owner       string          `json:"owner,omitempty"`
	Evidence    map[string]any  `json:"evidence,omitempty"`
	Remedy      string          `json:"remedy,omitempty"`
}

// automation names a run. Code scanning takes what stands before the last
// slash for the category, and one run of each category. What would be has
// categories of its own, so that it closes no alert of what is.
func automation(r engine.Report, run int) sarifAutomation {
	a := sarifAutomation{ID: "patrol"}
	if text := WhatIf(r); text != "" {
		a = sarifAutomation{"patrol-what-if", &sarifText{plainSARIF(text)}}
	}
	if run > 1 {
		a.ID += fmt.Sprintf("-%d", run)
	}
	a.ID += "/"
	return a
}

// packMeter counts what a file takes once compressed.
type packMeter struct {
	packed int64
	flate  *flate.Writer
}

func newPackMeter() *packMeter {
	m := &packMeter{}
	m.flate, _ = flate.NewWriter((*packCounter)(m), flate.BestSpeed) // the level is valid
	return m
}

func (m *packMeter) Write(b []byte) (int, error) { return m.flate.Write(b) }

type packCounter packMeter

func (c *packCounter) Write(b []byte) (int, error) {
	c.packed += int64(len(b))
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
