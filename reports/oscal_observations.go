package reports

import (
	"slices"

	"patrol/engine"
	"patrol/reports/table"
)

// observations writes one for each policy in each workspace: those with
// findings first, as they stream in, then those without.
func (o *oscal) observations() error {
	written := map[caseKey]bool{}
	var current caseKey
	err := table.Each(o.ctx, o.report.Findings, func(f engine.Finding) error {
		key := caseKey{f.Policy, f.WorkspaceID}
		if key == current {
			return o.evidence(f)
		}
		if current != (caseKey{}) {
			o.endObservation()
		}
		current, written[key] = key, true
		if err := o.beginObservation(key, f.Workspace); err != nil {
			return err
		}
		o.Key("              ", "relevant-evidence")
		o.Open("[")
		return o.evidence(f)
	})
	if err != nil {
		return err
	}
	if current != (caseKey{}) {
		o.endObservation()
	}
	return o.silent(written)
}

func (o *oscal) endObservation() {
	o.Close("              ", "]")
	o.Close("            ", "}")
}

// silent writes the observations that found nothing, and ends the list.
func (o *oscal) silent(written map[caseKey]bool) error {
	for _, p := range o.report.Policies {
		for _, w := range o.report.Workspaces {
			key := caseKey{p.Policy.ID, w.Snapshot.Workspace.ID}
			if written[key] || w.Policies[p.Policy.ID].Evaluated() == 0 {
				continue
			}
			if err := o.beginObservation(key, w.Snapshot.Workspace.Name); err != nil {
				return err
			}
			o.Close("            ", "}")
		}
	}
	if len(o.observed) > 0 {
		o.Close("          ", "]")
	}
	return nil
}

// beginObservation writes what is known of an observation before its findings.
// The first one begins the list: OSCAL knows no empty one.
func (o *oscal) beginObservation(key caseKey, workspace string) error {
	if len(o.observed) == 0 {
		o.Key("          ", "observations")
		o.Open("[")
	}
	id := o.id("observation", key.policy, key.workspace)
	o.observed[key.policy] = append(o.observed[key.policy], id)
	o.Next("            ")
	o.Open("{")
	counts := o.counts(key)
	members := []member{
		{"uuid", id},
		{"title", engine.SafeText(key.policy + " in " + workspace)},
		{"description", engine.SafeText(prose(orText(o.titles[key.policy], key.policy)) + ": " + controlCounts(engine.Control{Tally: counts, Complete: true}))},
		{"props", props("policy", key.policy, "workspace-id", key.workspace)},
		{"methods", []string{"TEST"}},
		{"types", []string{"finding"}},
		{"subjects", []oscalSubject{{o.id("workspace", key.workspace), "component"}}},
		{"collected", table.TimeText(o.report.AsOf)},
	}
	for _, m := range members {
		o.Key("              ", m.key)
		if err := o.Value(m.value); err != nil {
			return err
		}
	}
	return nil
}

func (o *oscal) counts(key caseKey) engine.Tally {
	for _, w := range o.report.Workspaces {
		if w.Snapshot.Workspace.ID == key.workspace {
			return w.Policies[key.policy]
		}
	}
	return nil
}

// evidence writes one finding of an observation.
func (o *oscal) evidence(f engine.Finding) error {
	o.Next("                ")
	e := oscalEvidence{
		Description: resultText(f),
		Props: props("resource", string(f.Resource), "resource-id", f.ResourceID, "status", string(f.Status), "severity", string(f.Severity),
			"owner", f.Owner, "fingerprint", f.Fingerprint, "remedy", f.Remedy),
	}
	if f.Status == engine.Waived {
		e.Remarks = waiverText(f.Waiver)
	}
	return o.Value(e)
}

// findings tells, control by control, whether it is satisfied. A control with
// nothing to judge has none.
func (o *oscal) findings() []oscalFinding {
	var list []oscalFinding
	for _, f := range o.frameworks {
		for _, c := range f.Controls {
			if c.Status == engine.ControlNotAssessed {
				continue
			}
			finding := oscalFinding{
				UUID: o.id("finding", f.Name, c.ID), Title: engine.SafeText(engine.FrameworkTitle(f.Name) + " " + c.ID + ": " + controlWord(c.Status)),
				Description: engine.SafeText(orText(c.Requirement, c.ID) + " " + controlCounts(c) + "."),
				Target:      oscalTarget{Type: "objective-id", ID: controlID(f.Name, c.ID), Status: controlState(c.Status)},
			}
			for _, policy := range c.Policies {
				for _, id := range o.observed[policy] {
					finding.Related = append(finding.Related, oscalRelated{id})
				}
			}
			list = append(list, finding)
		}
	}
	return slices.Clip(list)
}

func controlState(s engine.ControlStatus) oscalState {
	switch s {
	case engine.ControlMet:
		return oscalState{State: "satisfied", Reason: "pass"}
	case engine.ControlNotMet:
		return oscalState{State: "not-satisfied", Reason: "fail"}
	}
	return oscalState{State: "not-satisfied", Reason: "other", Remarks: "Not everything could be judged."}
}
