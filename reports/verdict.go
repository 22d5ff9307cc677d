package reports

import (
	"fmt"

	"patrol/engine"
)

// explain says what a verdict means, and which exit code follows from it.
func explain(r engine.Report) string {
	switch r.Verdict() {
	case engine.Incomplete:
		return "exit code 4: something could not be read or judged; what could be is reported"
	case engine.Violations:
		return fmt.Sprintf("exit code 1: findings of severity %s or worse", r.FailOn)
	}
	if r.FailOn == (engine.Threshold{}) {
		return "exit code 0: no finding fails the run, because --fail-on is none"
	}
	return fmt.Sprintf("exit code 0: no finding of severity %s or worse", r.FailOn)
}
