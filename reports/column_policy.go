package reports

import (
	"fmt"
	"strings"

	"patrol/engine"
)

// policyColumns are the workbook's columns of policies.
func policyColumns() []column[engine.PolicyReport] {
	type row = engine.PolicyReport
	columns := []column[row]{
		{"policy", plain, 10, func(p row) any { return p.Policy.ID }},
		{"severity", plain, 10, func(p row) any { return p.Policy.Severity }},
		{"title", wrapped, 34, func(p row) any { return p.Policy.Title }},
		{"resource", plain, 11, func(p row) any { return string(p.Policy.Resource) }},
		{"description", wrapped, 50, func(p row) any { return prose(p.Policy.Description) }},
		{"remediation", wrapped, 50, func(p row) any { return prose(p.Policy.Remediation) }},
		{"remedy", plain, 14, func(p row) any { return p.Policy.Remedy }},
		{"controls", wrapped, 34, func(p row) any { return controlLines(p.Policy.Controls) }},
		{"params", wrapped, 34, func(p row) any { return paramLines(p.Policy.Params) }},
		{"set_by_configuration", wrapped, 44, func(p row) any { return configured(p.Policy) }},
		{"evaluated", number, 12, func(p row) any { return p.Tally.Evaluated() }},
	}
	columns = append(columns, countColumns(func(p row) engine.Tally { return p.Tally })...)
	return append(columns,
		column[row]{"aliases", plain, 20, func(p row) any { return p.Policy.Aliases }},
		column[row]{"file", plain, 30, func(p row) any { return p.Policy.File }},
		column[row]{"pack", plain, 16, func(p row) any { return p.Policy.Pack }},
	)
}

// prose is text of several lines as one paragraph.
func prose(text string) string { return strings.Join(strings.Fields(text), " ") }

func controlLines(controls map[string][]string) lines {
	var texts lines
	for _, framework := range engine.SortedKeys(controls) {
		texts = append(texts, framework+": "+strings.Join(controls[framework], ", "))
	}
	return texts
}

// configured is what the configuration changes of a policy, and where.
func configured(p engine.Policy) (texts lines) {
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
		texts = append(texts, fmt.Sprintf("%s = %s in %s, where %s (%s)", strings.TrimPrefix(o.Key, "params."), valueText(o.Value), plural(len(o.Workspaces), "workspace"), o.Match, o.Origin))
	}
	return texts
}

func valueText(value any) string {
	text, err := jsonText(value)
	if err != nil {
		return "cannot be shown: " + err.Error()
	}
	return string(text)
}

func paramLines(params []engine.Param) lines {
	var texts lines
	for _, p := range params {
		texts = append(texts, p.Name+" = "+valueText(p.Value))
	}
	return texts
}
