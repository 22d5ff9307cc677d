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

// What a reviewer sees one by one; how many more there are is said.
const (
	mostWorkspaces = 10
	mostExcesses   = 10 // limits gone beyond: each owner has one
	mostOmitted    = 20 // findings without a step: whoever reviews more needs the workbook
	mostOwners     = 5
)

// PlanTable writes a plan for a reviewer at a terminal: counts by workspace,
// action, owner and risk, the limits, then the steps by workspace and owner with
// what could break in plain sight.
func PlanTable(w io.Writer, v PlanView, o table.Options) error {
	s := newScreen(w, o)
	s.planHead(v)
	actions, risks, owners := countSteps(v.Plan)
	words := table.Map(remedy.Names(), func(action engine.Action) string { return string(action) })
	s.count("by action", words, actions, len(words))
	s.count("by risk", riskLevels, risks, len(risks))
	names := engine.SortedKeys(owners)
	slices.SortStableFunc(names, func(a, b string) int { return owners[b] - owners[a] })
	s.count("by owner", names, owners, mostOwners)
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

// planWarnings are what whoever reads a plan has to know first: that it is of what would
// be, and what it endangers.
func planWarnings(p engine.Plan) []string {
	var lines []string
	if text := PlanWhatIf(p); text != "" {
		lines = append(lines, text)
	}
	for _, line := range remedy.Dangers(p, remedy.Every) {
		lines = append(lines, strings.ToUpper(line[:1])+line[1:])
	}
	return lines
}

// PlanWhatIf warns that a plan is of what would be.
func PlanWhatIf(p engine.Plan) string {
	asOf, _ := time.Parse(time.RFC3339, p.AsOf) // Read has seen it
	return WhatIf(engine.Report{WhatIf: p.WhatIf, AsOf: asOf})
}

func (s *screen) planHead(v PlanView) {
	p := v.Plan
	for _, line := range planWarnings(p) {
		s.WrapStyled(table.Red, "", line)
	}
	steps, high := map[string]int{}, map[string]int{} // by workspace
	changing := 0
	for _, step := range p.Steps {
		steps[step.WorkspaceID]++
		if remedy.Changes(step) {
			changing++
			if step.Risk.Level == "high" {
				high[step.WorkspaceID]++
			}
		}
	}
	title := "Plan " + p.ID + ": " + engine.Plural(len(p.Steps), "step")
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
	// The workspaces with most at risk come first.
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
	logRead := slices.ContainsFunc(p.Workspaces, func(w engine.PlanWorkspace) bool {
		c := w.Coverage[engine.SectionAuditLog]
		return c != "" && c != engine.NotCollected
	})
	if !logRead && slices.ContainsFunc(p.Steps, func(s engine.Step) bool { return remedy.Of(s.Action).Changes() }) {
		s.Line("Who uses the tokens is not known: the audit log was not read (--usage).")
	}
	s.Blank()
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

// count writes a line of names and their counts, as far as there are any.
func (s *screen) count(what string, names []string, counts map[string]int, most int) {
	var parts []string
	for _, name := range names {
		if counts[name] > 0 {
			parts = append(parts, name+" "+engine.Comma(counts[name]))
		}
	}
	if more := len(parts) - most; more > 0 {
		parts = append(parts[:most], engine.Comma(more)+" more")
	}
	if len(parts) > 0 {
		s.Wrap("  ", what+": "+strings.Join(parts, ", "))
	}
}

// planOmitted says which findings have no step.
func (s *screen) planOmitted(v PlanView) {
	counts, left := map[string]int{}, map[string]int{}
	var shown []string
	for _, finding := range v.Plan.NotPlanned {
		counts[finding.Reason]++
		if by, is := strings.CutPrefix(finding.Detail, "left for the next plan by "); is && finding.Reason == "left" {
			left[by]++
		}
		if finding.Reason != "superseded" && finding.Reason != "left" {
			shown = append(shown, fmt.Sprintf("%s %s %s: %s", finding.Policy, shortID(finding.ResourceID), finding.Reason, finding.Detail))
		}
	}
	s.count("findings without a step", engine.SortedKeys(counts), counts, len(counts))
	if counts["left"] > 0 {
		s.count("left for the next plan, by", engine.SortedKeys(left), left, len(left))
		s.Wrap("  ", "Apply this plan, audit, and plan again for what is left.")
	}
	if v.Of > 0 {
		for _, line := range shown[:min(len(shown), mostOmitted)] {
			s.Wrap("    ", line)
		}
		if len(shown) > mostOmitted {
			s.Wrap("    ", "… and more: the workbook lists them all")
		}
	}
	s.Blank()
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
		s.planStep(step)
		if verdict, told := v.Verdicts[step.ID]; told {
			s.Line("      " + verdict)
		}
		if _, ofToken := step.Card(); ofToken && (remedy.Of(step.Action).Safe == "" || !remedy.Changes(step)) {
			kinds[step.OwnerKind] = true
		}
	}
	if more := v.All - len(steps); more > 0 {
		s.Wrap("", fmt.Sprintf("… %s, less risky: --limit 0 shows all, `patrol plan --format xlsx` writes a workbook", engine.Plural(more, "more step")))
	}
	if kinds[engine.ServicePrincipal] {
		s.Wrap("", "instead of tokens of service principals: "+engine.ServicePrincipal.Instead())
	}
	if kinds[engine.User] {
		s.Wrap("", "instead of tokens of people: "+engine.User.Instead())
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

func (s *screen) planStep(step engine.Step) {
	card, ofToken := step.Card()
	head := fmt.Sprintf("    %s  %s  %s", step.ID, step.Action, targetText(step, ofToken))
	if remedy.Changes(step) {
		styles := map[string]table.Style{"high": table.Red, "medium": table.Yellow}
		s.Styled(styles[step.Risk.Level], head+"  "+strings.ToUpper(step.Risk.Level)+" RISK")
		s.Wrap("      ", stepRisk(step))
	} else {
		s.Line(head + "  for people")
	}
	if ofToken { // as its owner knows it
		comment := "no comment"
		if card.Comment != "" {
			comment = strconv.Quote(card.Comment)
		}
		s.Wrap("      ", fmt.Sprintf("%s, created %s, expires %s, last used %s, scopes %s", comment, card.Created, card.Expires, card.LastUsed, card.Scopes))
	}
	s.Wrap("      ", remedy.Effect(step))
	for _, user := range step.Risk.Users { // by the audit log
		s.Wrap("      ", "used by "+user.String())
	}
	for _, line := range grounds(step) {
		s.Wrap("      ", line)
	}
}

func targetText(step engine.Step, ofToken bool) string {
	if ofToken {
		return "token " + shortID(step.Target)
	}
	return step.Target
}

// stepRisk says what a step could break.
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
