package reports

import (
	"io"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// OutcomeCSV writes what became of each step of a plan, one row a step.
func OutcomeCSV(w io.Writer, r engine.OutcomeReport) error {
	c := table.NewCSVWriter(w)
	if err := c.Write("step", "state", "reason", "detail", "action", "workspace", "workspace_id", "target", "owner", "policies", "attempt", "http", "request_id", "at", "plan_id"); err != nil {
		return err
	}
	for _, o := range r.Outcomes {
		s := o.Step
		err := c.Write(s.ID, string(o.State), o.Reason, o.Detail, string(s.Action), s.Workspace, s.WorkspaceID, s.Target, s.Owner,
			strings.Join(s.Policies, ", "), o.Attempt, o.HTTP, o.Request, o.At, r.PlanID)
		if err != nil {
			return err
		}
	}
	return c.Flush()
}
