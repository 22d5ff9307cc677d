package engine_test

import (
	"slices"
	"strings"
	"testing"

	"patrol/engine"
)

func policyIn(framework, control, id string, tally engine.Tally) engine.PolicyReport {
	return engine.PolicyReport{
		Policy: engine.Policy{ID: id, Controls: map[string][]string{framework: {control}}},
		Tally:  tally,
	}
}

func TestControlStatus(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		tally    engine.Tally
		narrowed bool
		status   engine.ControlStatus
		complete bool
	}{
		{"all pass", engine.Tally{engine.Pass: 3}, false, engine.ControlMet, true},
		{"one fails", engine.Tally{engine.Pass: 3, engine.Fail: 1}, false, engine.ControlNotMet, true},
		{"fails and unknown", engine.Tally{engine.Fail: 1, engine.Unknown: 1}, false, engine.ControlNotMet, false},
		{"unknown", engine.Tally{engine.Pass: 3, engine.Unknown: 1}, false, engine.ControlIncomplete, false},
		{"error", engine.Tally{engine.Pass: 3, engine.Errored: 1}, false, engine.ControlIncomplete, false},
		{"baselined is known, not good", engine.Tally{engine.Baselined: 1}, false, engine.ControlNotMet, true},
		{"waived is accepted", engine.Tally{engine.Pass: 1, engine.Waived: 1}, false, engine.ControlMet, true},
		{"not applicable", engine.Tally{engine.NotApplicable: 5}, false, engine.ControlNotAssessed, true},
		{"nothing at all", engine.Tally{}, false, engine.ControlNotAssessed, true},
		{"some policies left out", engine.Tally{engine.Pass: 3}, true, engine.ControlIncomplete, false},
	} {
		r := engine.Report{Narrowed: test.narrowed, Policies: []engine.PolicyReport{policyIn("f", "1", "X-1", test.tally)}}
		got := r.Frameworks()[0].Controls[0]
		if got.Status != test.status || got.Complete != test.complete {
			t.Errorf("%s: %s, complete %v", test.name, got.Status, got.Complete)
		}
	}
}

func TestFrameworks(t *testing.T) {
	t.Parallel()
	r := engine.Report{Policies: []engine.PolicyReport{
		policyIn("iso-27001-2022", "A.5.16", "X-1", engine.Tally{engine.Fail: 2}),
		policyIn("soc2", "CC6.1", "X-2", engine.Tally{engine.Pass: 2}),
		policyIn("iso-27001-2022", "A.5.9", "X-3", engine.Tally{engine.Pass: 1}),
		policyIn("iso-27001-2022", "A.5.16", "X-4", engine.Tally{engine.Pass: 4}),
	}}
	if got := controlsOf(r); got != "iso-27001-2022/A.5.9 iso-27001-2022/A.5.16 soc2/CC6.1" {
		t.Error(got)
	}
	control := r.Frameworks()[0].Controls[1]
	if !slices.Equal(control.Policies, []string{"X-1", "X-4"}) || control.Tally[engine.Pass] != 4 || control.Requirement == "" {
		t.Errorf("%+v", control)
	}
	r.Narrowed, r.Framework = true, "iso-27001-2022:A.5.16"
	if got := controlsOf(r); got != "iso-27001-2022/A.5.16" || !r.Frameworks()[0].Controls[0].Complete {
		t.Error(got)
	}
}

func controlsOf(r engine.Report) string {
	var names []string
	for _, f := range r.Frameworks() {
		for _, c := range f.Controls {
			names = append(names, f.Name+"/"+c.ID)
		}
	}
	return strings.Join(names, " ")
}
