package plan

import (
	"errors"
	"fmt"

	"patrol/engine"
	"patrol/engine/remedy"
)

// mostExcesses bounds what one error tells: hundreds of owners can be over theirs.
const mostExcesses = 10

// CheckLimits refuses steps that together go beyond the plan's limits, with the
// reason over_limits. Give it every step that is approved or was ever started:
// limits hold for the plan, not for one run of it.
func CheckLimits(p engine.Plan, chosen func(id string) bool) error {
	var errs []error
	excesses := remedy.Exceeds(p, chosen)
	for i, excess := range excesses {
		if i == mostExcesses {
			errs = append(errs, fmt.Errorf("and %d more", len(excesses)-i))
			break
		}
		errs = append(errs, errors.New(excess.String()))
	}
	if len(errs) == 0 {
		return nil
	}
	return refused("over_limits", "check limits", "Approve fewer steps, or raise remediation.limits in the configuration and plan anew.", errors.Join(errs...))
}
