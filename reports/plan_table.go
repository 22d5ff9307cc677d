package reports

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
	"patrol/reports/table"
)

// PlanView is what is shown of a plan.
type PlanView struct {
	Plan     engine.Plan
	SHA256   string
	Over     []remedy.Excess   // limits that all steps together go beyond
	Standing []string          // of the approval, in lines
	Verdicts map[string]string // step id → approved, or why not; nil: nobody approved yet
	Next     []string          // what to do next, in lines

	Of    int           // steps of the plan, where its steps are shown
	All   int           // those that were chosen
	Steps []engine.Step // and of them those to show one by one
}

// PlanTable writes a plan for a reviewer at a terminal: counts by workspace,
// action, owner and risk, the limits, then the steps by workspace and owner with
// what could break in plain sight.
func PlanTable(w io.Writer, v PlanView, o table.Options) error {
	s := newScreen(w, o)
	s.planHead(v)
	s.planCounts(v.Plan)
	s.planLimits(v)
	s.planOmitted(v)
	if v.Of > 0 {
		s.planSteps(v)
	}
	for _, line := range v.Standing {
		s.Wrap("", line)
	}
	for _, line := range v.Next {
		s.Line(line)
	}
	return s.Flush()
}

// PlanWhatIf warns that a plan is of what would be.
func PlanWhatIf(p engine.Plan) string {
	return WhatIf(engine.Report{WhatIf: p.WhatIf, AsOf: asOfPlan(p)})
}

func asOfPlan(p engine.Plan) time.Time {
	t, _ := time.Parse(time.RFC3339, p.AsOf) // Read has seen it
	return t
}

func (s *screen) planHead(v PlanView) {
	p := v.Plan
	if text := PlanWhatIf(p); text != "" {
		s.Wrap("", text)
	}
	for _, line := range remedy.Dangers(p, remedy.Every) {
		s.WrapStyled(table.Red, "", strings.ToUpper(line[:1])+line[1:])
	}
	title := "Plan " + p.ID + ": " + engine.Plural(len(p.Steps), "step")
	changing := 0
	for _, step := range p.Steps {
		if remedy.Changes(step) {
			changing++
		}
	}
	if people := len(p.Steps) - changing; people > 0 {
		title += fmt.Sprintf(", %s of them for people", engine.Comma(people))
	}
	s.Styled(table.Bold, title)
	s.Line("judged as of " + p.AsOf + ", planned by " + engine.SafeText(p.Planner))
	window := "good until " + p.ExpiresAt
	if p.NotBefore != p.AsOf {
		window = "not before " + p.NotBefore + ", " + window
	}
	s.Line(window)
	s.Line("sha256 " + v.SHA256)
	if p.Contact != "" {
		s.Wrap("", "questions: "+p.Contact)
	}
	s.planWorkspaces(p)
	unread := func(w engine.PlanWorkspace) bool {
		c := w.Coverage[engine.SectionAuditLog]
		return c == "" || c == engine.NotCollected
	}
	if slices.ContainsFunc(p.Steps, func(s engine.Step) bool { return remedy.Of(s.Action).Changes() }) && !slices.ContainsFunc(p.Workspaces, func(w engine.PlanWorkspace) bool { return !unread(w) }) {
		s.Line("Who uses the tokens is not known: the audit log was not read (--usage).")
	}
	s.Blank()
}

// mostWorkspaces bounds the workspaces shown; how many more there are is told.
const mostWorkspaces = 10

// planWorkspaces lists the workspaces with most at risk.
func (s *screen) planWorkspaces(p engine.Plan) {
	steps, high := map[string]int{}, map[string]int{}
	for _, step := range p.Steps {
		steps[step.WorkspaceID]++
		if remedy.Changes(step) && step.Risk.Level == "high" {
			high[step.WorkspaceID]++
		}
	}
	sorted := slices.DeleteFunc(slices.Clone(p.Workspaces), func(w engine.PlanWorkspace) bool { return steps[w.ID] == 0 })
	slices.SortStableFunc(sorted, func(a, b engine.PlanWorkspace) int {
		return cmp.Or(cmp.Compare(high[b.ID], high[a.ID]), cmp.Compare(steps[b.ID], steps[a.ID]))
	})
	for i, w := range sorted {
		if i == mostWorkspaces {
			s.Line(fmt.Sprintf("  … %s more workspaces with less, --workspace NAME", engine.Comma(len(sorted)-i)))
			break
		}
		text := fmt.Sprintf("%s (%s, %s): %s", w.Name, w.ID, engine.Plural(w.Tokens, "token"), engine.Plural(steps[w.ID], "step"))
		if high[w.ID] > 0 {
			text += fmt.Sprintf(", %s of high risk", engine.Comma(high[w.ID]))
		}
		if w.Host == "" {
			text += "; from a file, apply cannot reach it"
		}
		s.Line("  " + text)
	}
	if none := len(p.Workspaces) - len(sorted); none > 0 && len(p.Steps) > 0 {
		s.Line("  " + engine.Plural(none, "workspace") + " without a step")
	}
}

// countSteps counts steps by action, and those that change something by risk and,
// where they are on tokens, by owner.
func countSteps(p engine.Plan) (actions, risks, owners map[string]int) {
	actions, risks, owners = map[string]int{}, map[string]int{}, map[string]int{}
	for _, step := range p.Steps {
		actions[string(step.Action)]++
		if remedy.Changes(step) {
			risks[step.Risk.Level]++
			if remedy.OnToken(step) {
				owners[step.Owner]++
			}
		}
	}
	return actions, risks, owners
}

var riskLevels = []string{"high", "medium", "low"}

// mostExcesses bounds the limits shown as gone beyond: each owner has one.
const mostExcesses = 10

// mostOmitted bounds what is shown one by one: who reviews more needs the workbook.
const mostOmitted = 20

// mostOwners bounds the owners shown; how many more there are is told.
const mostOwners = 5

func (s *screen) planCounts(p engine.Plan) {
	actions, risks, owners := countSteps(p)
	var words []string
	for _, action := range remedy.Names() {
		words = append(words, string(action))
	}
	s.count("by action", words, actions, len(words))
	s.count("by risk", riskLevels, risks, len(risks))
	names := engine.SortedKeys(owners)
	slices.SortStableFunc(names, func(a, b string) int { return owners[b] - owners[a] })
	s.count("by owner", names, owners, mostOwners)
}

func (s *screen) count(what string, names []string, counts map[string]int, most int) {
	var parts []string
	for _, name := range names {
		if counts[name] > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", name, engine.Comma(counts[name])))
		}
	}
	if len(parts) == 0 {
		return
	}
	if more := len(parts) - most; more > 0 {
		parts = append(parts[:most], fmt.Sprintf("%s more", engine.Comma(more)))
	}
	s.Wrap("  ", what+": "+strings.Join(parts, ", "))
}

func (s *screen) planLimits(v PlanView) {
	l := v.Plan.Limits
	s.Wrap("  ", fmt.Sprintf("limits: %d steps, %g%% of a workspace's tokens, %d per owner, %d used within %d days, %d endangered",
		l.MaxSteps, l.MaxPercent, l.MaxPerOwner, l.MaxRecentlyUsed, l.RecentlyUsedDays, l.MaxEndangered))
	for i, excess := range v.Over {
		if i == mostExcesses {
			s.WrapStyled(table.Yellow, "  ", fmt.Sprintf("OVER: … and %s more", engine.Comma(len(v.Over)-i)))
			break
		}
		s.WrapStyled(table.Yellow, "  ", "OVER: "+excess.String())
	}
	if len(v.Over) > 0 {
		s.Wrap("  ", "Apply refuses all of these steps together: approve fewer, or raise the limits and plan anew.")
	}
}

func (s *screen) planOmitted(v PlanView) {
	counts, left := map[string]int{}, map[string]int{}
	for _, finding := range v.Plan.NotPlanned {
		counts[finding.Reason]++
		if by, is := strings.CutPrefix(finding.Detail, "left for the next plan by "); is && finding.Reason == "left" {
			left[by]++
		}
	}
	s.count("findings without a step", engine.SortedKeys(counts), counts, len(counts))
	if counts["left"] > 0 {
		s.count("left for the next plan, by", engine.SortedKeys(left), left, len(left))
		s.Wrap("  ", "Apply this plan, audit, and plan again for what is left.")
	}
	if v.Of > 0 {
		told := 0
		for _, finding := range v.Plan.NotPlanned {
			if finding.Reason != "superseded" && finding.Reason != "left" {
				if told++; told > mostOmitted {
					s.Wrap("    ", "… and more: the workbook lists them all")
					break
				}
				s.Wrap("    ", fmt.Sprintf("%s %s %s: %s", finding.Policy, shortID(finding.ResourceID), finding.Reason, finding.Detail))
			}
		}
	}
	s.Blank()
}

// forReview puts what changes a workspace first, in the order in which apply
// would do it; then what is for people.
func forReview(steps []engine.Step) []engine.Step {
	sorted := slices.Clone(steps)
	slices.SortStableFunc(sorted, func(a, b engine.Step) int { return min(1, remedy.Danger(b)) - min(1, remedy.Danger(a)) })
	return sorted
}

// planSteps shows steps by workspace and owner, in each the riskiest first.
func (s *screen) planSteps(v PlanView) {
	if v.All < v.Of {
		s.Styled(table.Bold, fmt.Sprintf("%s of %s", engine.Comma(v.All), engine.Plural(v.Of, "step")))
	}
	steps := slices.Clone(v.Steps)
	slices.SortStableFunc(steps, func(a, b engine.Step) int {
		return cmp.Or(cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.WorkspaceID, b.WorkspaceID), cmp.Compare(a.Owner, b.Owner), cmp.Compare(remedy.Danger(b), remedy.Danger(a)))
	})
	workspace, owner := "", "-"
	kinds := map[engine.Kind]bool{}
	for _, step := range steps {
		if step.WorkspaceID != workspace {
			workspace, owner = step.WorkspaceID, "-"
			s.Styled(table.Bold, step.Workspace)
		}
		if name := ownerOf(step); name != owner {
			owner = name
			s.Line("  " + name)
		}
		s.planStep(step, v)
		if _, ofToken := step.Card(); ofToken && (remedy.Of(step.Action).Safe == "" || !remedy.Changes(step)) {
			kinds[step.OwnerKind] = true
		}
	}
	if more := v.All - len(steps); more > 0 {
		s.Wrap("", fmt.Sprintf("… %s, less risky: --limit 0 shows all, `patrol plan --format xlsx` writes a workbook", engine.Plural(more, "more step")))
	}
	for _, kind := range engine.SortedKeys(kinds) {
		if kind == engine.User || kind == engine.ServicePrincipal {
			s.Wrap("", "instead of tokens of "+map[engine.Kind]string{engine.User: "people", engine.ServicePrincipal: "service principals"}[kind]+": "+kind.Instead())
		}
	}
	if len(steps) > 0 {
		s.Blank()
	}
}

// ownerOf is the owner of a step's token as people know them.
func ownerOf(step engine.Step) string {
	if step.OwnerName != "" && step.OwnerName != step.Owner {
		return step.Owner + " (" + step.OwnerName + ")"
	}
	return cmp.Or(step.Owner, "(workspace)")
}

func (s *screen) planStep(step engine.Step, v PlanView) {
	target := step.Target
	card, ofToken := step.Card()
	if ofToken {
		target = "token " + shortID(target)
	}
	head := fmt.Sprintf("    %s  %s  %s", step.ID, step.Action, target)
	if remedy.Changes(step) {
		s.Styled(riskStyle(step.Risk), head+"  "+strings.ToUpper(step.Risk.Level)+" RISK")
		s.Wrap("      ", stepRisk(step))
	} else {
		s.Line(head + "  for people")
	}
	if ofToken {
		s.Wrap("      ", cardLine(card))
	}
	if effect := remedy.Effect(step); effect != "" {
		s.Wrap("      ", effect)
	}
	for _, line := range usersOf(step) {
		s.Wrap("      ", "used by "+line)
	}
	for i, policy := range step.Policies {
		s.Wrap("      ", policy+" "+step.Reasons[i])
	}
	if verdict, told := v.Verdicts[step.ID]; told {
		s.Line("      " + verdict)
	}
}

// cardLine names a token as its owner knows it.
func cardLine(c engine.TokenCard) string {
	comment := "no comment"
	if c.Comment != "" {
		comment = strconv.Quote(c.Comment)
	}
	return fmt.Sprintf("%s, created %s, expires %s, last used %s, scopes %s", comment, c.Created, c.Expires, c.LastUsed, c.Scopes)
}

func riskStyle(r engine.Risk) table.Style {
	switch r.Level {
	case "high":
		return table.Red
	case "medium":
		return table.Yellow
	}
	return ""
}

// usersOf are who uses what a step takes away, by the audit log.
func usersOf(step engine.Step) (lines []string) {
	for _, user := range step.Risk.Users {
		lines = append(lines, user.String())
	}
	return lines
}

func stepRisk(step engine.Step) string {
	text := step.Risk.Why
	if step.Risk.UsersUnknown != "" {
		text += "; " + step.Risk.UsersUnknown
	}
	if step.Critical {
		text += "; critical"
	}
	return text
}
