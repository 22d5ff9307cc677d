package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"patrol/engine"
)

// PlanView is what is shown of a plan.
type PlanView struct {
	Plan     engine.Plan
	SHA256   string
	Over     []engine.Excess   // limits that all steps together go beyond
	Standing []string          // of the approval, in lines
	Verdicts map[string]string // step id → approved, or why not; nil: nobody approved yet
	Brief    bool              // counts only
	Next     []string          // what to do next, in lines
}

// PlanTable writes a plan for a reviewer at a terminal: counts by action, owner
// and risk, the limits, then each step with what could break in plain sight.
func PlanTable(w io.Writer, v PlanView, o TableOptions) error {
	s := newScreen(w, o)
	s.planHead(v)
	s.planCounts(v.Plan)
	s.planLimits(v)
	s.planOmitted(v)
	if !v.Brief {
		s.planSteps(v)
	}
	for _, line := range v.Standing {
		s.wrap("", line)
	}
	for _, line := range v.Next {
		s.line(line)
	}
	return s.flush()
}

func (s *screen) planHead(v PlanView) {
	p := v.Plan
	for _, line := range p.Dangers(func(string) bool { return true }) {
		s.styled(red, strings.ToUpper(line[:1])+engine.SafeText(line[1:]))
	}
	s.styled(bold, fmt.Sprintf("Plan %s: %s", p.ID, countSteps(p)))
	s.line("judged as of " + p.AsOf + ", planned by " + engine.SafeText(p.Planner))
	window := "good until " + p.ExpiresAt
	if p.NotBefore != p.AsOf {
		window = "not before " + p.NotBefore + ", " + window
	}
	s.line(window)
	s.line("sha256 " + v.SHA256)
	for _, workspace := range p.Workspaces {
		text := fmt.Sprintf("%s (%s, %s)", workspace.Name, workspace.ID, plural(workspace.Tokens, "token"))
		if workspace.Host == "" {
			text += ": from a file, apply cannot reach it"
		}
		s.line("  " + text)
	}
	s.blank()
}

func countSteps(p engine.Plan) string {
	changing := 0
	for _, step := range p.Steps {
		if step.Action.Changes() {
			changing++
		}
	}
	text := plural(len(p.Steps), "step")
	if people := len(p.Steps) - changing; people > 0 {
		text += fmt.Sprintf(", %s of them for people", comma(people))
	}
	return text
}

// mostExcesses bounds the limits shown as gone beyond: each owner has one.
const mostExcesses = 10

// mostSteps and mostOmitted bound what is shown one by one: who reviews more
// needs the workbook.
const (
	mostSteps   = 200
	mostOmitted = 50
)

// mostOwners bounds the owners shown; how many more there are is told.
const mostOwners = 5

func (s *screen) planCounts(p engine.Plan) {
	actions, risks, owners := map[string]int{}, map[string]int{}, map[string]int{}
	for _, step := range p.Steps {
		actions[string(step.Action)]++
		if step.Action.Changes() {
			risks[step.Risk.Level]++
			if step.Action.OnToken() {
				owners[step.Owner]++
			}
		}
	}
	var words []string
	for _, action := range engine.Actions() {
		words = append(words, string(action))
	}
	s.count("by action", words, actions, len(words))
	s.count("by risk", []string{"high", "medium", "low"}, risks, len(risks))
	names := engine.SortedKeys(owners)
	slices.SortStableFunc(names, func(a, b string) int { return owners[b] - owners[a] })
	s.count("by owner", names, owners, mostOwners)
}

func (s *screen) count(what string, names []string, counts map[string]int, most int) {
	var parts []string
	for _, name := range names {
		if counts[name] > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", name, comma(counts[name])))
		}
	}
	if len(parts) == 0 {
		return
	}
	if more := len(parts) - most; more > 0 {
		parts = append(parts[:most], fmt.Sprintf("%s more", comma(more)))
	}
	s.wrap("  ", what+": "+strings.Join(parts, ", "))
}

func (s *screen) planLimits(v PlanView) {
	l := v.Plan.Limits
	s.wrap("  ", fmt.Sprintf("limits: %d steps, %g%% of a workspace's tokens, %d per owner, %d used within %d days, %d endangered",
		l.MaxSteps, l.MaxPercent, l.MaxPerOwner, l.MaxRecentlyUsed, l.RecentlyUsedDays, l.MaxEndangered))
	for i, excess := range v.Over {
		if i == mostExcesses {
			s.styled(yellow, fmt.Sprintf("  OVER: … and %s more", comma(len(v.Over)-i)))
			break
		}
		s.styled(yellow, "  OVER: "+excess.String())
	}
	if len(v.Over) > 0 {
		s.wrap("  ", "Apply refuses all of these steps together: approve fewer, or raise the limits and plan anew.")
	}
}

func (s *screen) planOmitted(v PlanView) {
	counts := map[string]int{}
	for _, finding := range v.Plan.NotPlanned {
		counts[finding.Reason]++
	}
	s.count("findings without a step", engine.SortedKeys(counts), counts, len(counts))
	if !v.Brief {
		told := 0
		for _, finding := range v.Plan.NotPlanned {
			if finding.Reason != "superseded" {
				if told++; told > mostOmitted {
					s.wrap("    ", "… and more: the workbook lists them all")
					break
				}
				s.wrap("    ", fmt.Sprintf("%s %s %s: %s", finding.Policy, shortID(finding.ResourceID), finding.Reason, finding.Detail))
			}
		}
	}
	s.blank()
}

// forReview puts what changes a workspace first, in the order in which apply
// would do it; then what is for people.
func forReview(steps []engine.Step) []engine.Step {
	people := slices.DeleteFunc(slices.Clone(steps), func(step engine.Step) bool { return step.Action.Changes() })
	changes := slices.DeleteFunc(slices.Clone(steps), func(step engine.Step) bool { return !step.Action.Changes() })
	return append(changes, people...)
}

func (s *screen) planSteps(v PlanView) {
	heading := ""
	steps := forReview(v.Plan.Steps)
	if len(steps) > mostSteps { // the riskiest, not those that apply comes to first
		slices.SortStableFunc(steps, func(a, b engine.Step) int { return danger(b) - danger(a) })
	}
	for i, step := range steps {
		if i == mostSteps {
			s.blank()
			s.wrap("", fmt.Sprintf("… and %s, less risky: the workbook of `patrol plan --format xlsx` lists them all.", plural(len(steps)-i, "more step")))
			break
		}
		if now := stepHeading(step); now != heading {
			heading = now
			s.styled(bold, heading)
		}
		s.planStep(step, v)
	}
	if len(v.Plan.Steps) > 0 {
		s.blank()
	}
}

// danger ranks steps by what they could break; those for people break nothing.
func danger(step engine.Step) int {
	if !step.Action.Changes() {
		return -1
	}
	return slices.Index([]string{"low", "medium", "high"}, step.Risk.Level)
}

func stepHeading(step engine.Step) string {
	if !step.Action.Changes() {
		return "FOR PEOPLE"
	}
	return strings.ToUpper(step.Risk.Level) + " RISK"
}

func (s *screen) planStep(step engine.Step, v PlanView) {
	target := step.Target
	if step.Action.OnToken() || step.OwnerID != "" {
		target = "token " + shortID(target)
	}
	s.line(fmt.Sprintf("  %s  %s  %s  %s  %s", step.ID, step.Action, step.Workspace, target, step.Owner))
	if step.Action.Changes() {
		s.styled(riskStyle(step.Risk), "    "+stepRisk(step))
	}
	if effect := stepEffect(step); effect != "" {
		s.wrap("    ", effect)
	}
	for i, policy := range step.Policies {
		s.wrap("    ", policy+" "+step.Reasons[i])
	}
	if verdict, told := v.Verdicts[step.ID]; told {
		s.line("    " + verdict)
	}
}

func riskStyle(r engine.Risk) ansi {
	switch r.Level {
	case "high":
		return red
	case "medium":
		return yellow
	}
	return ""
}

func stepRisk(step engine.Step) string {
	text := step.Risk.Why
	if step.Critical {
		text += "; critical"
	}
	return text
}

// stepEffect tells what will be there after a step, where the action's name
// does not say it all.
func stepEffect(step engine.Step) string {
	switch step.Action {
	case engine.SetSetting:
		return fmt.Sprintf("%v → %v", orUnset(step.Precondition.Identity["value"]), step.Expected["value"])
	case engine.NarrowScopes:
		return fmt.Sprintf("scopes %s → %s", joined(step.Precondition.Volatile["scopes"]), joined(step.Expected["scopes"]))
	case engine.ChangeGrant:
		return fmt.Sprintf("%s → %s", granted(step.Precondition.Identity["access_control_list"]), granted(step.Expected["access_control_list"]))
	}
	return ""
}

// granted is the whole list of who may use tokens: what a change leaves out of
// it loses its right.
func granted(value any) string {
	list, _ := value.([]any)
	texts := []string{}
	for _, item := range list {
		entry, _ := item.(map[string]any)
		texts = append(texts, fmt.Sprintf("%v %v", entry["principal"], entry["level"]))
	}
	if len(texts) == 0 {
		return "nobody"
	}
	return strings.Join(texts, ", ")
}

func orUnset(value any) any {
	if value == nil {
		return "not set"
	}
	return value
}

func joined(value any) string {
	list, _ := value.([]any)
	if len(list) == 0 {
		return "all"
	}
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = fmt.Sprint(item)
	}
	return strings.Join(texts, ", ")
}
