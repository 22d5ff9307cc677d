package reports

import (
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

func paramLines(params []engine.Param) lines {
	var texts lines
	for _, p := range params {
		value, err := jsonText(p.Value)
		if err != nil {
			value = []byte("?")
		}
		texts = append(texts, p.Name+" = "+string(value))
	}
	return texts
}
