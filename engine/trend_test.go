package engine_test

import (
	"testing"

	"patrol/engine"
)

func TestCompareSeen(t *testing.T) {
	t.Parallel()
	seen := func(status engine.Status, severity engine.Severity) *engine.Seen {
		return &engine.Seen{Status: status, Severity: severity}
	}
	for _, test := range []struct {
		name        string
		before, now *engine.Seen
		want        engine.Change
	}{
		{"never", nil, nil, ""},
		{"new", nil, seen(engine.Fail, engine.High), engine.ChangeNew},
		{"could not be judged before", seen(engine.Unknown, engine.High), seen(engine.Fail, engine.High), engine.ChangeUnsure},
		{"waiver ran out", seen(engine.Waived, engine.High), seen(engine.Fail, engine.High), engine.ChangeWorse},
		{"graded up", seen(engine.Fail, engine.Low), seen(engine.Fail, engine.High), engine.ChangeWorse},
		{"graded down", seen(engine.Fail, engine.High), seen(engine.Fail, engine.Low), engine.ChangeOpen},
		{"open", seen(engine.Fail, engine.High), seen(engine.Fail, engine.High), engine.ChangeOpen},
		{"excused", seen(engine.Fail, engine.High), seen(engine.Waived, engine.High), engine.ChangeExcused},
		{"lost sight of", seen(engine.Fail, engine.High), seen(engine.Errored, engine.High), engine.ChangeUnjudged},
		{"fixed", seen(engine.Fail, engine.High), nil, engine.ChangeFixed},
		{"excused all along", seen(engine.Waived, engine.High), seen(engine.Waived, engine.High), ""},
		{"excused, and gone", seen(engine.Baselined, engine.High), nil, ""},
	} {
		if got := engine.CompareSeen(test.before, test.now); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
