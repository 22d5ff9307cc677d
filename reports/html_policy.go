package reports

import (
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// policyView is a policy's page.
type policyView struct {
	ID, Title              string
	Severity               engine.Severity
	Resource               engine.Resource
	Judges                 engine.Judges
	Remedy                 string
	Description            []string // paragraphs
	Remediation            []string
	Counts                 []statusCount
	Failed, Share          int // Share: of those evaluated, in per cent
	Undecided              int
	Excused                int
	Evaluated              int
	Controls               []controlView
	Aliases, Needs         string
	Params                 []paramView
	Configured             []string // what the configuration changes
	Off                    bool
	File, Pack, Package    string
	Source                 []sourceLine
	Before, After          string // ids of the neighbours; "" at the ends
	BeforeTitle, NextTitle string
}

type statusCount struct {
	Status  engine.Status
	Finding bool
	Count   int
}

type controlView struct{ Framework, Controls string }

type paramView struct{ Name, Description, Default, Value, Origin string }

type sourceLine struct {
	Number  int
	Text    string
	Comment bool
}

func policyViews(policies []engine.PolicyReport) []policyView {
	views := make([]policyView, len(policies))
	for i, p := range policies {
		views[i] = newPolicyView(p)
	}
	for i := 1; i < len(views); i++ {
		views[i].Before, views[i].BeforeTitle = views[i-1].ID, views[i-1].Title
		views[i-1].After, views[i-1].NextTitle = views[i].ID, views[i].Title
	}
	return views
}

func newPolicyView(r engine.PolicyReport) policyView {
	p, tally := r.Policy, r.Tally
	view := policyView{
		ID: foreign(p.ID), Title: foreign(p.Title), Severity: p.Severity, Resource: p.Resource, Judges: p.Judges, Remedy: foreign(p.Remedy),
		Description: paragraphs(p.Description), Remediation: paragraphs(p.Remediation),
		Failed: tally[engine.Fail], Undecided: tally[engine.Unknown] + tally[engine.Errored],
		Excused: tally[engine.Waived] + tally[engine.Baselined], Evaluated: tally.Evaluated(),
		Aliases: foreign(strings.Join(p.Aliases, ", ")), Needs: foreign(strings.Join(p.Needs, ", ")),
		Params: paramViews(p.Params), Configured: table.Map(configured(p), foreign), Off: p.Off != "", File: foreign(p.File), Pack: foreign(p.Pack), Package: foreign(p.Package),
		Source: sourceLines(p.Source),
	}
	if view.Evaluated > 0 {
		view.Share = (100*view.Failed + view.Evaluated - 1) / view.Evaluated
	}
	for _, status := range findingsFirst() {
		view.Counts = append(view.Counts, statusCount{status, status.Finding(), tally[status]})
	}
	for _, framework := range engine.SortedKeys(p.Controls) {
		view.Controls = append(view.Controls, controlView{foreign(engine.FrameworkTitle(framework)), foreign(strings.Join(p.Controls[framework], ", "))})
	}
	return view
}

func paramViews(params []engine.Param) []paramView {
	views := make([]paramView, len(params))
	for i, p := range params {
		views[i] = paramView{foreign(p.Name), foreign(p.Description), foreign(valueText(p.Default)), foreign(valueText(p.Value)), foreign(p.Origin)}
	}
	return views
}

// paragraphs splits at empty lines; single line feeds are only how a metadata
// block was wrapped.
func paragraphs(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, "\n\n") {
		if words := strings.Join(strings.Fields(part), " "); words != "" {
			out = append(out, foreign(words))
		}
	}
	return out
}

func sourceLines(source string) []sourceLine {
	source = strings.TrimRight(strings.ReplaceAll(source, "\r\n", "\n"), "\n")
	if source == "" {
		return nil
	}
	var lines []sourceLine
	for i, text := range strings.Split(source, "\n") {
		indented := strings.ReplaceAll(text, "\t", "    ")
		lines = append(lines, sourceLine{i + 1, engine.SafeText(indented), strings.HasPrefix(strings.TrimSpace(text), "#")})
	}
	return lines
}
