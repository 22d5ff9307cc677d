package reports

import (
	"time"

	"patrol/engine"
	"patrol/reports/table"
)

// findingColumns are the columns of findings, in CSV and workbooks alike.
func findingColumns(asOf time.Time) []table.Column[engine.Finding] {
	judgedAt := table.Instant(asOf.UnixMilli())
	return []table.Column[engine.Finding]{
		table.Plain("severity", 10, func(f engine.Finding) any { return f.Severity }).Rank(1, 0),
		table.Plain("policy", 10, func(f engine.Finding) any { return f.Policy }).Rank(2, 0),
		table.Wrapped("title", 34, func(f engine.Finding) any { return f.Title }),
		table.Plain("status", 11, func(f engine.Finding) any { return f.Status }).Rank(7, 0),
		table.Plain("workspace", 18, func(f engine.Finding) any { return f.Workspace }).Rank(4, 12),
		table.ID("workspace_id", 20, func(f engine.Finding) any { return f.WorkspaceID }),
		table.Plain("resource", 11, func(f engine.Finding) any { return string(f.Resource) }),
		table.ID("resource_id", 24, func(f engine.Finding) any { return f.ResourceID }).Rank(3, 0).As(tokenText),
		table.Plain("owner", 28, func(f engine.Finding) any { return f.Owner }).Rank(6, 14),
		table.Wrapped("message", 50, func(f engine.Finding) any { return f.Message }).Rank(5, 24),
		table.Date("since", 20, since),
		table.Plain("remedy", 14, func(f engine.Finding) any { return f.Remedy }),
		table.Plain("evidence", 40, func(f engine.Finding) any { return evidenceText(f.Evidence) }),
		table.Plain("waiver_id", 14, ofWaiver(func(w engine.Waiver) string { return w.ID })),
		table.Plain("waiver_reason", 28, ofWaiver(func(w engine.Waiver) string { return w.Reason })),
		table.Plain("waiver_ticket", 14, ofWaiver(func(w engine.Waiver) string { return w.Ticket })),
		table.Plain("waiver_approver", 24, ofWaiver(func(w engine.Waiver) string { return w.Approver })),
		table.Plain("waiver_expires", 14, ofWaiver(func(w engine.Waiver) string { return w.Expires })),
		table.ID("fingerprint", 24, func(f engine.Finding) any { return f.Fingerprint }),
		table.Date("as_of", 20, func(engine.Finding) any { return judgedAt }),
	}
}

// since is when a finding was first seen; nothing where that is not known.
func since(f engine.Finding) any {
	if f.Since.IsZero() {
		return nil
	}
	return table.Instant(f.Since.UnixMilli())
}

func ofWaiver(field func(engine.Waiver) string) func(engine.Finding) any {
	return func(f engine.Finding) any {
		if f.Waiver == nil {
			return nil
		}
		return field(*f.Waiver)
	}
}

// evidenceText is evidence as compact JSON; "" when there is none.
func evidenceText(evidence map[string]any) any {
	if len(evidence) == 0 {
		return nil
	}
	text, err := table.JSONText(evidence)
	if err != nil {
		return "cannot be shown: " + err.Error()
	}
	return string(text)
}
