package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/plan"
	"patrol/reports"
)

// bookFormat is the workbook in which reviewers decide.
const bookFormat = "xlsx"

// planFormats are the forms of a plan beside plan.json.
func planFormats() []string {
	names := []string{bookFormat}
	for _, export := range plan.Exports() {
		names = append(names, export.Name)
	}
	slices.Sort(names)
	return names
}

// formatsToWrite are those asked for. The formats of reports share the flag's
// name in the environment and the configuration: there, what is no form of a
// plan is meant for them.
func (a *app) formatsToWrite(o *planOptions) ([]string, error) {
	var chosen []string
	for _, name := range o.formats {
		name = strings.TrimSpace(name)
		switch {
		case slices.Contains(planFormats(), name):
			chosen = append(chosen, name)
		case a.origins["format"] == "flag --format":
			return nil, engine.UsageError("read flag", "--format", "Use "+strings.Join(planFormats(), ", ")+".", fmt.Errorf("a plan has no form %q", name))
		}
	}
	return chosen, nil
}

// beside names a file beside the plan.
func beside(path, ending string) string {
	return strings.TrimSuffix(path, filepath.Ext(path)) + ending
}

// writePlanFiles writes the other forms of a plan beside it.
func (a *app) writePlanFiles(ctx context.Context, p engine.Plan, digest, path string, formats []string) ([]string, error) {
	var files []string
	if slices.Contains(formats, bookFormat) {
		file := beside(path, "."+bookFormat)
		err := outfile.Write(file, func(w io.Writer) error { return reports.PlanXLSX(ctx, w, p, digest) })
		if err != nil {
			return files, err
		}
		files = append(files, file)
	}
	for _, export := range plan.Exports() {
		if !slices.Contains(formats, export.Name) {
			continue
		}
		file := beside(path, export.Ending)
		if err := plan.Write(file, []byte(export.Render(p, digest))); err != nil {
			return files, err
		}
		files = append(files, file)
	}
	return files, nil
}

// fromWorkbook takes the decisions of a reviewers' workbook into a statement.
func fromWorkbook(s *plan.Statement, p engine.Plan, path string) error {
	decisions, err := reports.ReadPlanXLSX(path, p, s.PlanSHA)
	if err != nil {
		return err
	}
	if len(decisions) == 0 {
		return engine.UsageError("read decisions from", path, "Choose approve, reject or defer in the column Decision.", fmt.Errorf("no step is decided"))
	}
	for _, d := range decisions {
		s.Decisions = append(s.Decisions, plan.Decision{Step: d.Step, Verdict: plan.Verdict(d.Decision), Reason: d.Comment})
	}
	return nil
}
