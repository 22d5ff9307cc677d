package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// completeness says what the audit did not see, so that silence about it is not
// taken for a pass.
type completeness struct {
	Statement string
	Choice    string // of policies, where not all ran
	Gaps      []gapView
}

// gapView is sections of a workspace that were not read whole for one reason.
type gapView struct {
	Workspace, WorkspaceID string
	Sections               string
	Status                 engine.CoverageStatus
	Reason, Detail, Hint   string
}

func newCompleteness(r engine.Report) completeness {
	c := completeness{Choice: choiceText(r)}
	whole := 0
	for _, w := range r.Workspaces {
		gaps := w.Snapshot.Gaps()
		if len(gaps) == 0 {
			whole++
		}
		for _, gap := range gaps {
			c.Gaps = append(c.Gaps, newGapView(w.Snapshot.Workspace, gap))
		}
	}
	c.Statement = strings.TrimSpace(completenessText(len(r.Workspaces), whole, r.Summary.Statuses) + " " + foreign(offText(r)))
	return c
}

func choiceText(r engine.Report) string {
	switch {
	case r.Framework != "":
		return "Only the policies of " + foreign(r.Framework) + " were run: the audit says nothing about the others."
	case r.Narrowed:
		return "Only some policies were chosen: the audit says nothing about the others."
	}
	return ""
}

func newGapView(w engine.Workspace, gap engine.Gap) gapView {
	return gapView{
		Workspace: foreign(w.Name), WorkspaceID: foreign(w.ID),
		Sections: foreign(gap.Names()), Status: gap.Coverage.Status, Reason: foreign(gap.Coverage.Reason),
		Detail: foreign(gap.Coverage.Detail), Hint: foreign(gap.Coverage.Hint),
	}
}

func completenessText(all, whole int, results engine.Tally) string {
	parts := []string{fmt.Sprintf("%s audited, %s read whole.", engine.Plural(all, "workspace"), engine.Comma(whole))}
	if whole < all {
		parts = append(parts, fmt.Sprintf("Of %s something could not be read; the reasons stand below.", engine.Plural(all-whole, "workspace")))
	}
	open := results[engine.Unknown] + results[engine.Errored]
	if open == 0 {
		return strings.Join(append(parts, "Every policy reached a verdict on everything that it applies to."), " ")
	}
	return strings.Join(append(parts, fmt.Sprintf(
		"%s without a verdict: the data was not read, or the policy could not be evaluated. None of them counts as passed.",
		engine.Plural(open, "result"))), " ")
}

const (
	unfolded = 4  // workspaces, up to which all are shown in full
	listed   = 10 // workspaces in the summary
)

// workspaceView is a judged snapshot.
type workspaceView struct {
	Name, ID, Host, Cloud, Labels string
	Snapshot                      int64
	CollectedAt                   string
	Digest, Previous              string
	Tokens                        int
	Failed, Undecided             int
	Whole                         bool
	Open                          bool // shown unfolded
	Sections                      []sectionView
}

type sectionView struct {
	Name           string
	Status         engine.CoverageStatus
	Mark           string // how it is coloured
	Count          int
	Reason, Detail string
}

func workspaceViews(workspaces []engine.WorkspaceReport) []workspaceView {
	var views []workspaceView
	for _, w := range workspaces {
		s := w.Snapshot
		views = append(views, workspaceView{
			Name: foreign(s.Workspace.Name), ID: foreign(s.Workspace.ID), Host: foreign(s.Workspace.Host),
			Cloud: s.Workspace.Cloud, Labels: labelsText(s.Workspace.Labels),
			Snapshot: s.ID, CollectedAt: table.TimeText(s.CollectedAt), Digest: s.Digest, Previous: s.Previous,
			Tokens: s.Tokens, Failed: w.Counts[engine.Fail], Undecided: w.Counts[engine.Unknown] + w.Counts[engine.Errored],
			Whole: len(s.Incomplete()) == 0, Open: len(workspaces) <= unfolded, Sections: sectionViews(s),
		})
	}
	return views
}

func sectionViews(s engine.Snapshot) []sectionView {
	var views []sectionView
	for _, name := range engine.SortedKeys(s.Coverage) {
		c := s.Coverage[name]
		views = append(views, sectionView{
			Name: foreign(string(name)), Status: c.Status, Mark: coverageMark(c), Count: c.Count,
			Reason: foreign(c.Reason), Detail: foreign(c.Detail),
		})
	}
	return views
}

func coverageMark(c engine.Coverage) string {
	switch {
	case c.Covered():
		return "pass"
	case c.Status == engine.NotCollected:
		return "info" // nobody asked for it
	}
	return "unknown"
}

// worst are the workspaces with the most failed results.
func worst(views []workspaceView) []workspaceView {
	order := slices.Clone(views)
	slices.SortStableFunc(order, func(a, b workspaceView) int { return cmp.Compare(b.Failed, a.Failed) })
	return order[:min(len(order), listed)]
}

func labelsText(labels map[string]string) string {
	var parts []string
	for _, key := range engine.SortedKeys(labels) {
		parts = append(parts, foreign(key+"="+labels[key]))
	}
	return strings.Join(parts, ", ")
}
