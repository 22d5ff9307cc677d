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

// annotated is how many findings an annotation names.
const annotated = 3

// annotate writes one annotation for each policy that failed or could not be
// judged, and for each gap in what was read: a runner shows only the first ten
// of each level, and a policy tells more than ten of its thousand findings.
func annotate(ctx context.Context, w io.Writer, r engine.Report, line func(annotation) string, limit int) error {
	all, err := collect(ctx, r, annotated)
	if err != nil {
		return err
	}
	places := map[string]place{}
	for _, p := range r.Policies {
		places[p.Policy.ID] = placeOf(p.Policy)
	}
	var list []annotation
	if text := WhatIf(r); text != "" {
		list = append(list, annotation{"warning", "what if", nil, text})
	}
	for _, g := range all.groups {
		if g.counts[engine.Fail] == 0 {
			continue
		}
		level := "notice" // an error where the failure fails the run, and otherwise as grave as the policy
		switch {
		case r.FailOn.Fails(g.severity):
			level = "error"
		case g.severity.AtLeast(engine.Medium):
			level = "warning"
		}
		lines := []string{fmt.Sprintf("%s: %s", g.severity, g.extent())}
		for _, f := range g.examples {
			lines = append(lines, cutText(resultText(f), 300))
		}
		if more := g.counts[engine.Fail] - len(g.examples); more > 0 {
			lines = append(lines, "… and "+engine.Comma(more)+" more")
		}
		list = append(list, annotation{level, g.policy + " " + g.title, new(places[g.policy]), strings.Join(lines, "\n")})
	}
	for _, p := range r.Policies {
		if n := undecided(p.Tally); n > 0 {
			list = append(list, annotation{"warning", p.Policy.ID + " " + p.Policy.Title, new(places[p.Policy.ID]), engine.Plural(n, "result") + " could not be judged"})
		}
	}
	for _, w := range r.Workspaces {
		for _, gap := range w.Snapshot.Gaps() {
			list = append(list, annotation{"warning", "not read whole", nil, gapText(w.Snapshot.Workspace.Name, gap)})
		}
	}
	out := bufio.NewWriter(w)
	shown, left := map[string]int{}, 0
	for _, a := range list {
		if shown[a.level] == limit {
			left++
			continue
		}
		shown[a.level]++
		fmt.Fprintln(out, line(a))
	}
	fmt.Fprintf(out, "patrol: %s, %s, %s; %s not shown here, see the other reports.\n",
		engine.Plural(shown["error"], "error"), engine.Plural(shown["warning"], "warning"), engine.Plural(shown["notice"], "notice"), engine.Comma(left))
	return out.Flush()
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
