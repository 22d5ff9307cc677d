package reports

import (
	"cmp"
	"fmt"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
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
func exceptionColumns() []table.Column[exceptionRow] {
	type row = exceptionRow
	return []table.Column[row]{
		table.Plain("exception", 14, func(x row) any { return x.kind }),
		table.Plain("state", 12, func(x row) any { return x.state }),
		table.ID("id", 24, func(x row) any { return x.ID }),
		table.Plain("policies", 20, func(x row) any { return strings.Join(x.Policies, ", ") }),
		table.Plain("workspace", 18, func(x row) any { return x.Workspace }),
		table.ID("resource_id", 24, func(x row) any { return x.resourceID }),
		table.Plain("owner", 28, func(x row) any { return x.Owner }),
		table.Wrapped("reason", 40, func(x row) any { return prose(x.Reason) }),
		table.Plain("ticket", 14, func(x row) any { return x.Ticket }),
		table.Plain("approver", 28, func(x row) any { return x.Approver }),
		table.Plain("created", 12, ofRule(func(x row) any { return x.Created.String() })),
		table.Plain("expires", 12, ofRule(func(x row) any { return x.Expires.String() })),
		table.Number("days_left", 10, ofRule(func(x row) any { return x.DaysLeft })),
		table.Plain("expires_soon", 12, ofRule(func(x row) any { return x.ExpiresSoon })),
		table.Number("waived", 10, ofRule(func(x row) any { return x.Waived })),
		table.Number("lapsed", 10, ofRule(func(x row) any { return x.Lapsed })),
		table.Wrapped("refusals", 50, func(x row) any { return refusalLines(x.Refusals) }),
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
	var texts table.Lines
	for _, why := range refusals {
		texts = append(texts, fmt.Sprintf("%s: %s (%s)", why.Policy, why.Message, engine.Plural(why.Findings, "finding")))
	}
	return texts
}
