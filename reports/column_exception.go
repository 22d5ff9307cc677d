package reports

import (
	"cmp"
	"fmt"
	"strings"

	"patrol/engine"
)

// exceptionRow is a waiver, or an entry of the baseline that is gone.
type exceptionRow struct {
	kind  string
	state string
	engine.WaiverUse
	resourceID string
}

func exceptionRows(x engine.Exceptions) []exceptionRow {
	rows := make([]exceptionRow, 0, len(x.Waivers))
	for _, w := range x.Waivers {
		rows = append(rows, exceptionRow{"waiver", string(w.State), w, cmp.Or(w.Token, w.Secret)})
	}
	if x.Baseline == nil {
		return rows
	}
	for _, e := range x.Baseline.Gone {
		row := exceptionRow{kind: "baseline entry", state: "gone", resourceID: e.ResourceID}
		row.ID, row.Policies, row.Workspace = e.Fingerprint, []string{e.Policy}, e.Workspace
		rows = append(rows, row)
	}
	return rows
}

// exceptionColumns are the workbook's columns of waivers and of what is gone
// from the baseline.
func exceptionColumns() []column[exceptionRow] {
	type row = exceptionRow
	return []column[row]{
		{"exception", plain, 14, func(x row) any { return x.kind }},
		{"state", plain, 12, func(x row) any { return x.state }},
		{"id", identifier, 24, func(x row) any { return x.ID }},
		{"policies", plain, 20, func(x row) any { return strings.Join(x.Policies, ", ") }},
		{"workspace", plain, 18, func(x row) any { return x.Workspace }},
		{"resource_id", identifier, 24, func(x row) any { return x.resourceID }},
		{"owner", plain, 28, func(x row) any { return x.Owner }},
		{"reason", wrapped, 40, func(x row) any { return prose(x.Reason) }},
		{"ticket", plain, 14, func(x row) any { return x.Ticket }},
		{"approver", plain, 28, func(x row) any { return x.Approver }},
		{"created", plain, 12, ofRule(func(x row) any { return x.Created.String() })},
		{"expires", plain, 12, ofRule(func(x row) any { return x.Expires.String() })},
		{"days_left", number, 10, ofRule(func(x row) any { return x.DaysLeft })},
		{"expires_soon", plain, 12, ofRule(func(x row) any { return x.ExpiresSoon })},
		{"waived", number, 10, ofRule(func(x row) any { return x.Waived })},
		{"lapsed", number, 10, ofRule(func(x row) any { return x.Lapsed })},
		{"refusals", wrapped, 50, func(x row) any { return refusalLines(x.Refusals) }},
	}
}

// ofRule leaves what only waivers have empty for the rest.
func ofRule(value func(exceptionRow) any) func(exceptionRow) any {
	return func(x exceptionRow) any {
		if x.kind != "waiver" {
			return nil
		}
		return value(x)
	}
}

func refusalLines(refusals []engine.WaiverRefusal) any {
	if len(refusals) == 0 {
		return nil
	}
	var texts lines
	for _, why := range refusals {
		texts = append(texts, fmt.Sprintf("%s: %s (%s)", why.Policy, why.Message, plural(why.Findings, "finding")))
	}
	return texts
}
