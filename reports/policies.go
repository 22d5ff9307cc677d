package reports

import (
	"fmt"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// policyColumns are the workbook's columns of policies.
func policyColumns() []table.Column[engine.PolicyReport] {
	type row = engine.PolicyReport
	columns := []table.Column[row]{
		table.Plain("policy", 10, func(p row) any { return p.Policy.ID }),
		table.Plain("severity", 10, func(p row) any { return p.Policy.Severity }),
		table.Wrapped("title", 34, func(p row) any { return p.Policy.Title }),
		table.Plain("resource", 11, func(p row) any { return string(p.Policy.Resource) }),
		table.Wrapped("description", 50, func(p row) any { return prose(p.Policy.Description) }),
		table.Wrapped("remediation", 50, func(p row) any { return prose(p.Policy.Remediation) }),
		table.Plain("remedy", 14, func(p row) any { return p.Policy.Remedy }),
		table.Wrapped("controls", 34, func(p row) any { return controlLines(p.Policy.Controls) }),
		table.Wrapped("params", 34, func(p row) any { return paramLines(p.Policy.Params) }),
		table.Wrapped("set_by_configuration", 44, func(p row) any { return configured(p.Policy) }),
		table.Number("evaluated", 12, func(p row) any { return p.Tally.Evaluated() }),
	}
	columns = append(columns, countColumns(func(p row) engine.Tally { return p.Tally })...)
	return append(columns,
		table.Plain("aliases", 20, func(p row) any { return p.Policy.Aliases }),
		table.Plain("file", 30, func(p row) any { return p.Policy.File }),
		table.Plain("pack", 16, func(p row) any { return p.Policy.Pack }),
	)
}

// prose is text of several lines as one paragraph.
func prose(text string) string { return strings.Join(strings.Fields(text), " ") }

func controlLines(controls map[string][]string) table.Lines {
	var texts table.Lines
	for _, framework := range engine.SortedKeys(controls) {
		texts = append(texts, framework+": "+strings.Join(controls[framework], ", "))
	}
	return texts
}

// configured is what the configuration changes of a policy, and where.
func configured(p engine.Policy) (texts table.Lines) {
	if p.Off != "" {
		texts = append(texts, "switched off ("+p.Off+")")
	}
	if p.SetSeverity != "" {
		texts = append(texts, fmt.Sprintf("severity %s, not %s (%s)", p.Severity, p.OwnSeverity, p.SetSeverity))
	}
	for _, param := range p.Params {
		if param.Origin != "" && param.Origin != "default" {
			texts = append(texts, fmt.Sprintf("%s = %s, not %s (%s)", param.Name, valueText(param.Value), valueText(param.Default), param.Origin))
		}
	}
	for _, o := range p.Overrides {
		texts = append(texts, fmt.Sprintf("%s = %s in %s, where %s (%s)", strings.TrimPrefix(o.Key, "params."), valueText(o.Value), engine.Plural(len(o.Workspaces), "workspace"), o.Match, o.Origin))
	}
	return texts
}

func valueText(value any) string {
	text, err := table.JSONText(value)
	if err != nil {
		return "cannot be shown: " + err.Error()
	}
	return string(text)
}

func paramLines(params []engine.Param) table.Lines {
	var texts table.Lines
	for _, p := range params {
		texts = append(texts, p.Name+" = "+valueText(p.Value))
	}
	return texts
}

// controlColumns are the workbook's columns of a framework's controls.
func controlColumns(policies []engine.PolicyReport) []table.Column[engine.Control] {
	type row = engine.Control
	titles := map[string]string{}
	for _, p := range policies {
		titles[p.Policy.ID] = p.Policy.ID + " " + p.Policy.Title
	}
	return []table.Column[row]{
		table.ID("control", 14, func(c row) any { return c.ID }),
		table.Wrapped("requirement_in_our_words", 50, func(c row) any { return c.Requirement }),
		table.Plain("result", 14, func(c row) any { return c.Status }),
		table.Wrapped("policies", 52, func(c row) any {
			return table.Lines(table.Map(c.Policies, func(id string) string { return titles[id] }))
		}),
		table.Wrapped("not_assessed", 30, func(c row) any { return table.Lines(c.Off) }),
		table.Number("evidence", 12, func(c row) any { return c.Tally.Evaluated() - c.Tally[engine.NotApplicable] }),
		table.Number("passed", 12, func(c row) any { return c.Tally[engine.Pass] }),
		table.Number("failed", 12, func(c row) any { return c.Tally[engine.Fail] }),
		table.Number("waived", 12, func(c row) any { return c.Tally[engine.Waived] }),
		table.Number("baselined", 12, func(c row) any { return c.Tally[engine.Baselined] }),
		table.Number("not_judged", 12, func(c row) any { return c.Tally[engine.Unknown] + c.Tally[engine.Errored] }),
		table.Plain("all_data_read", 12, func(c row) any { return c.Complete }),
	}
}
