package reports

import "patrol/engine"

// StepDecision is a reviewer's decision as a workbook holds it.
type StepDecision struct {
	Step     string
	Decision string // approve, reject or defer
	Comment  string
}

// ReadPlanXLSX reads the decisions from a workbook that PlanXLSX wrote for this
// plan. Only the step's id, its decision and comment, and the plan's digest are
// read. Rows without a decision are left out; a row of an unknown step, a step
// that is there twice, an unknown decision and any formula are refused with
// their place.
func ReadPlanXLSX(path string, p engine.Plan, digest string) ([]StepDecision, error) {
	answers, err := readForm(path, decisionForm(), p.Steps, digest)
	var decisions []StepDecision
	for _, a := range answers {
		decisions = append(decisions, StepDecision{Step: a.step.ID, Decision: a.word, Comment: a.texts[0]})
	}
	return decisions, err
}
