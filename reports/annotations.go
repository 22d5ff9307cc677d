package reports

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"patrol/engine"
)

// GitHub is annotations for a step of GitHub Actions: -o - puts them where the
// runner looks for them.
func (catalogue) GitHub() Format {
	return Format{
		Name: "github",
		File: "annotations.github.txt",
		Doc:  "annotations for GitHub Actions, one per policy; for --output -",
		Write: func(ctx context.Context, w io.Writer, r engine.Report) error {
			return annotate(ctx, w, r, githubLine, 10)
		},
	}
}

// AzureDevOps is the same for Azure Pipelines.
func (catalogue) AzureDevOps() Format {
	return Format{
		Name: "azuredevops",
		File: "annotations.azuredevops.txt",
		Doc:  "annotations for Azure Pipelines, one per policy; for --output -",
		Write: func(ctx context.Context, w io.Writer, r engine.Report) error {
			return annotate(ctx, w, r, azureLine, 10)
		},
	}
}

// annotation is what a pipeline shows beside its log.
type annotation struct {
	level string // error, warning, notice
	title string
	place *place
	text  string
}

// annotate writes one annotation for each policy that failed or could not be
// judged, and for each gap in what was read: a runner shows only the first ten
// of each level, and a policy tells more than ten of its thousand findings.
func annotate(ctx context.Context, w io.Writer, r engine.Report, line func(annotation) string, limit int) error {
	groups, _, _, err := collect(ctx, r, annotated)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	shown, left := map[string]int{}, 0
	for _, a := range annotations(r, groups) {
		if shown[a.level]++; shown[a.level] > limit {
			left++
			continue
		}
		fmt.Fprintln(out, line(a))
	}
	fmt.Fprintf(out, "patrol: %s, %s, %s; %s not shown here, see the other reports.\n",
		engine.Plural(min(shown["error"], limit), "error"), engine.Plural(min(shown["warning"], limit), "warning"), engine.Plural(min(shown["notice"], limit), "notice"), engine.Comma(left))
	return out.Flush()
}

// annotated is how many findings an annotation names.
const annotated = 3

func annotations(r engine.Report, groups []*group) []annotation {
	places := map[string]place{}
	for _, p := range r.Policies {
		places[p.Policy.ID] = placeOf(p.Policy)
	}
	var list []annotation
	if text := WhatIf(r); text != "" {
		list = append(list, annotation{"warning", "what if", nil, text})
	}
	for _, g := range groups {
		if g.counts[engine.Fail] > 0 {
			list = append(list, failedAnnotation(r, g, places[g.policy]))
		}
	}
	for _, p := range r.Policies {
		if n := p.Tally[engine.Unknown] + p.Tally[engine.Errored]; n > 0 {
			where := places[p.Policy.ID]
			list = append(list, annotation{"warning", p.Policy.ID + " " + p.Policy.Title, &where, engine.Plural(n, "result") + " could not be judged"})
		}
	}
	for _, w := range r.Workspaces {
		for _, gap := range w.Snapshot.Gaps() {
			list = append(list, annotation{"warning", "not read whole", nil, gapText(w.Snapshot.Workspace.Name, gap)})
		}
	}
	return list
}

// failedAnnotation is an error where the failure fails the run, and otherwise
// as grave as the policy.
func failedAnnotation(r engine.Report, g *group, where place) annotation {
	a := annotation{level: "notice", title: g.policy + " " + g.title, place: &where}
	switch {
	case r.FailOn.Fails(g.severity):
		a.level = "error"
	case g.severity.AtLeast(engine.Medium):
		a.level = "warning"
	}
	told := []string{fmt.Sprintf("%s: %s", g.severity, g.extent())}
	for _, f := range g.examples {
		told = append(told, cutText(resultText(f), 300))
	}
	if more := g.counts[engine.Fail] - len(g.examples); more > 0 {
		told = append(told, "… and "+engine.Comma(more)+" more")
	}
	a.text = strings.Join(told, "\n")
	return a
}

// githubLine is a workflow command. What stands in it is data, once its line
// ends and separators are escaped.
func githubLine(a annotation) string {
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	message := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	line := "::" + a.level + " title=" + property.Replace(engine.SafeText(a.title))
	if a.place != nil {
		line += ",file=" + property.Replace(a.place.uri) + ",line=" + strconv.Itoa(a.place.line)
	}
	return line + "::" + message.Replace(engine.SafeLines(a.text))
}

// azureLine is a logging command. It knows errors and warnings only.
func azureLine(a annotation) string {
	property := strings.NewReplacer("%", "%AZP25", "\r", "%0D", "\n", "%0A", "]", "%5D", ";", "%3B")
	message := strings.NewReplacer("%", "%AZP25", "\r", "%0D", "\n", "%0A")
	level := a.level
	if level != "error" {
		level = "warning"
	}
	line := "##vso[task.logissue type=" + level
	if a.place != nil {
		line += ";sourcepath=" + property.Replace(a.place.uri) + ";linenumber=" + strconv.Itoa(a.place.line)
	}
	return line + "]" + message.Replace(engine.SafeLines(a.title+"\n"+a.text))
}
