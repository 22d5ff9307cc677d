package reports

import "patrol/engine"

// frameworkView is where the audit stands on a framework.
type frameworkView struct {
	Title    string
	Controls []controlRow
}

type controlRow struct {
	ID, Requirement string
	Status          engine.ControlStatus
	Mark            string // how it is coloured
	Counts          string
	Policies        []string
}

func frameworkViews(frameworks []engine.Framework) []frameworkView {
	var views []frameworkView
	for _, f := range frameworks {
		view := frameworkView{Title: foreign(engine.FrameworkTitle(f.Name))}
		for _, c := range f.Controls {
			view.Controls = append(view.Controls, controlRow{
				ID: foreign(c.ID), Requirement: foreign(c.Requirement), Status: c.Status, Mark: controlMark(c.Status),
				Counts: controlCounts(c), Policies: c.Policies,
			})
		}
		views = append(views, view)
	}
	return views
}

func controlMark(s engine.ControlStatus) string {
	switch s {
	case engine.ControlMet:
		return "pass"
	case engine.ControlNotMet:
		return "critical"
	case engine.ControlIncomplete:
		return "unknown"
	}
	return "info"
}
