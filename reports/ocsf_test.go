package reports

import (
	"bytes"
	"encoding/json"
	"testing"

	"patrol/engine"

	validate "github.com/valllabh/ocsf-schema-golang/ocsfvalidate/1.2"
)

// writtenOCSF validates each event against the schema of its class.
func writtenOCSF(t *testing.T, r engine.Report) []ocsfEvent {
	t.Helper()
	var b bytes.Buffer
	if err := writeOCSF(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &raw); err != nil {
		t.Fatal(err)
	}
	events := make([]ocsfEvent, len(raw))
	for i, text := range raw {
		if err := validate.Validate("compliance_finding", text); err != nil {
			t.Errorf("event %d: %v", i, err)
		}
		if err := json.Unmarshal(text, &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

func TestOCSF(t *testing.T) {
	t.Parallel()
	events := writtenOCSF(t, report())
	findings := fixtureFindings()
	if len(events) != len(findings) {
		t.Fatalf("%d events of %d findings", len(events), len(findings))
	}
	for i, f := range findings {
		e := events[i]
		suppressed := f.Status == engine.Waived || f.Status == engine.Baselined
		if (e.StatusID == 3) != suppressed || (e.Compliance.StatusID == 0) != !f.Status.Judged() {
			t.Errorf("%s is %s and %s", f.Status, e.Status, e.Compliance.Status)
		}
		if e.TypeUID != e.ClassUID*100+e.ActivityID || e.Finding.UID != f.Fingerprint || e.Unmapped.Status != f.Status {
			t.Errorf("%+v", e)
		}
	}
}

func TestOCSFOfNothing(t *testing.T) {
	t.Parallel()
	for n := range 3 {
		if got := len(writtenOCSF(t, many(n))); got != n {
			t.Errorf("%d events, want %d", got, n)
		}
	}
}

func TestSeverityOCSF(t *testing.T) {
	t.Parallel()
	for i, level := range engine.Severities() {
		if id, _ := severityOCSF(level); id != 5-i {
			t.Errorf("%s is %d", level, id)
		}
	}
}
