package store

import (
	"testing"

	"patrol/engine"

	"github.com/google/go-cmp/cmp"
)

func TestExceptionsRoundTrip(t *testing.T) {
	t.Parallel()
	j := twoWorkspaces(t)
	day := engine.DateOf(now)
	want := engine.Exceptions{
		Waivers: []engine.WaiverUse{{
			WaiverRule: engine.WaiverRule{ID: "W-1", Policies: []string{"PAT-001"}, Token: "39*", Reason: "<until> the move", Approver: "ann@example.com", Created: day, Expires: day + 30},
			State:      engine.WaiverRefused, DaysLeft: 30, Refusals: []engine.WaiverRefusal{{Policy: "WV-001", Message: "too long", Findings: 2}},
		}},
		Baseline: &engine.BaselineUse{
			AsOf: "2026-01-01T00:00:00Z", Version: "1", Entries: 2, Baselined: 1,
			Gone: []engine.BaselineEntry{{Fingerprint: "ab", Policy: "PAT-001", Severity: engine.High, WorkspaceID: "9007199254740993", Resource: engine.ResourceToken, ResourceID: "c"}},
		},
	}
	for _, x := range []engine.Exceptions{want, {}} {
		e, err := j.db.BeginEvaluation(t.Context(), j.header)
		must(t, err)
		must(t, e.Exceptions(x))
		id, err := e.Commit()
		must(t, err)
		r, err := j.db.Report(t.Context(), id)
		must(t, err)
		if diff := cmp.Diff(x, r.Exceptions); diff != "" {
			t.Fatal(diff)
		}
	}
}
