package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSpans folds what evaluations repeat. A history is a status for each day
// and policy: F failed, W waived, U unknown, . judged and not listed, - no verdict.
func TestSpans(t *testing.T) {
	t.Parallel()
	statuses := map[rune]Status{'F': Fail, 'W': Waived, 'U': Unknown}
	for _, test := range []struct{ name, a, b, want string }{
		{"never", "....", "-", ""},
		{"once", "F", "", "1 fail A day 1"},
		{"all along", "FFF", "", "1 fail A day 3 (still at 1970-01-04T00:00:00Z, 3 evaluations)"},
		{"fixed", "FFF.", "", "1 fail A day 3 (until 1970-01-04T00:00:00Z, 3 evaluations)"},
		{"fixed and back", "FF.FF", "", "1 fail A day 2 (until 1970-01-03T00:00:00Z, 2 evaluations); 4 fail A day 5 (still at 1970-01-06T00:00:00Z, 2 evaluations)"},
		{"a gap ends nothing", "F-F", "", "1 fail A day 3 (still at 1970-01-04T00:00:00Z, 2 evaluations)"},
		{"waived", "FFWW", "", "1 fail A day 2 (until 1970-01-03T00:00:00Z, 2 evaluations); 3 waived A day 4 (still at 1970-01-05T00:00:00Z, 2 evaluations)"},
		{"unknown in between", "FUF", "", "1 fail A day 1; 2 unknown A day 2; 3 fail A day 3"},
		{"two policies", "FF", "FF.", "1 fail A day 2 (still at 1970-01-03T00:00:00Z, 2 evaluations); 1 fail B day 2 (until 1970-01-03T00:00:00Z, 2 evaluations)"},
	} {
		var h TokenHistory
		for policy, days := range map[string]string{"A": test.a, "B": test.b} {
			for i, c := range days {
				run := PolicyRun{Evaluation: int64(i + 1), AsOf: int64(i+1) * Day, Policy: policy}
				if status, listed := statuses[c]; listed {
					h.Results = append(h.Results, TokenResult{run.Evaluation, run.AsOf, policy, status, fmt.Sprint("day ", i+1)})
				}
				if c != '-' && c != 'U' {
					h.Runs = append(h.Runs, run)
				}
			}
		}
		var got []string
		for _, e := range h.spans() {
			got = append(got, fmt.Sprintf("%d %s %s", time.UnixMilli(e.At).UTC().Day()-1, e.What, e.Detail))
		}
		if text := strings.Join(got, "; "); text != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, text, test.want)
		}
	}
}
