package reports

import (
	"time"

	"patrol/engine"
)

// findingColumns are the columns of findings, in CSV and workbooks alike.
func findingColumns(asOf time.Time) []column[engine.Finding] {
	judgedAt := instant(asOf.UnixMilli())
	return []column[engine.Finding]{
		{"severity", plain, 10, func(f engine.Finding) any { return f.Severity }},
		{"policy", plain, 10, func(f engine.Finding) any { return f.Policy }},
		{"title", wrapped, 34, func(f engine.Finding) any { return f.Title }},
		{"status", plain, 11, func(f engine.Finding) any { return f.Status }},
		{"workspace", plain, 18, func(f engine.Finding) any { return f.Workspace }},
		{"workspace_id", identifier, 20, func(f engine.Finding) any { return f.WorkspaceID }},
		{"resource", plain, 11, func(f engine.Finding) any { return string(f.Resource) }},
		{"resource_id", identifier, 24, func(f engine.Finding) any { return f.ResourceID }},
		{"owner", plain, 28, func(f engine.Finding) any { return f.Owner }},
		{"message", wrapped, 50, func(f engine.Finding) any { return f.Message }},
		{"since", date, 20, since},
		{"remedy", plain, 14, func(f engine.Finding) any { return f.Remedy }},
		{"evidence", plain, 40, func(f engine.Finding) any { return evidenceText(f.Evidence) }},
		{"waiver_id", plain, 14, ofWaiver(func(w engine.Waiver) string { return w.ID })},
		{"waiver_reason", plain, 28, ofWaiver(func(w engine.Waiver) string { return w.Reason })},
		{"waiver_ticket", plain, 14, ofWaiver(func(w engine.Waiver) string { return w.Ticket })},
		{"waiver_approver", plain, 24, ofWaiver(func(w engine.Waiver) string { return w.Approver })},
		{"waiver_expires", plain, 14, ofWaiver(func(w engine.Waiver) string { return w.Expires })},
		{"fingerprint", identifier, 24, func(f engine.Finding) any { return f.Fingerprint }},
		{"as_of", date, 20, func(engine.Finding) any { return judgedAt }},
	}
}

// since is when a finding was first seen; nothing where that is not known.
func since(f engine.Finding) any {
	if f.Since.IsZero() {
		return nil
	}
	return instant(f.Since.UnixMilli())
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
	text, err := jsonText(evidence)
	if err != nil {
		return "cannot be shown: " + err.Error()
	}
	return string(text)
}
