package plan

import (
	"errors"
	"fmt"

	"patrol/engine"
)

// refuseSkewed stops a plan by a machine that told another time than the
// workspace when it read that: when a plan ends and how old its snapshot is
// would be counted by a clock that is wrong.
func (b *builder) refuseSkewed() error {
	var skewed []error
	for _, w := range b.order {
		if hours := w.Snapshot.HoursOff(); hours != 0 {
			skewed = append(skewed, fmt.Errorf("when workspace %s was read, this machine's clock was %d hours %s", w.Snapshot.Workspace.Name, max(hours, -hours), ahead(hours)))
		}
	}
	if len(skewed) == 0 {
		return nil
	}
	return &engine.Error{Class: engine.ClassRefused, Reason: "clock_skew", Op: "plan", Err: errors.Join(skewed...),
		Hint: "Correct this machine's clock, and audit again."}
}

func ahead(hours int) string {
	if hours > 0 {
		return "ahead"
	}
	return "behind"
}
