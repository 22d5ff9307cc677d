package reports

import (
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// What code scanning takes of a rule.
const (
	sarifName    = 255 // characters
	sarifSummary = 1024
	sarifTags    = 10
)

func sarifDriver(r engine.Report) sarifTool {
	rules := make([]sarifRule, len(r.Policies))
	for i, p := range r.Policies {
		rules[i] = ruleSARIF(p.Policy)
	}
	return sarifTool{sarifComponent{Name: "patrol", Version: r.Version, Language: sarifLanguage, Rules: rules}}
}

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
	return sarifResult{
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
		Provenance:   provenance(f),
		Properties: sarifResultProperties{
			Severity: f.Severity, Status: f.Status, Workspace: engine.SafeText(f.Workspace), WorkspaceID: f.WorkspaceID,
			Owner: engine.SafeText(f.Owner), Evidence: f.Evidence, Remedy: f.Remedy,
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

func suppressions(f engine.Finding) []sarifSuppression {
	switch f.Status {
	case engine.Waived:
		return []sarifSuppression{{Kind: "external", Status: "accepted", Justification: waiverText(f.Waiver)}}
	case engine.Baselined:
		return []sarifSuppression{{Kind: "external", Status: "accepted", Justification: "known to the baseline"}}
	}
	return nil
}

func provenance(f engine.Finding) *sarifProvenance {
	if f.Since.IsZero() {
		return nil
	}
	return &sarifProvenance{table.TimeText(f.Since)}
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

// unjudged tells of policies that came to no verdict. These are no results:
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

// unread tells of sections that were not read whole.
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
