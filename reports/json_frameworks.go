package reports

import (
	"math"

	"patrol/engine"
	"patrol/reports/table"
)

type jsonFramework struct {
	Framework string        `json:"framework"`
	Title     string        `json:"title"`
	Controls  []jsonControl `json:"controls"`
}

type jsonControl struct {
	Control  string               `json:"control"`
	Policies []string             `json:"policies"`
	Status   engine.ControlStatus `json:"status"`
	Complete bool                 `json:"complete"` // all its policies ran, and came to a verdict everywhere
	Off      []string             `json:"switched_off,omitempty"`
	jsonTally
}

func frameworkJSON(f engine.Framework) any {
	shown := jsonFramework{Framework: f.Name, Title: engine.FrameworkTitle(f.Name), Controls: []jsonControl{}}
	for _, c := range f.Controls {
		shown.Controls = append(shown.Controls, jsonControl{c.ID, c.Policies, c.Status, c.Complete, c.Off, tallyJSON(c.Tally)})
	}
	return shown
}

type jsonTrend struct {
	Since      string                           `json:"since"`
	Earliest   string                           `json:"earliest,omitempty"` // the oldest verdict compared with, where a snapshot before could not be judged whole
	Workspaces int                              `json:"workspaces"`
	Changes    map[engine.Change]jsonSeverities `json:"changes"`
	TimeToFix  []jsonFix                        `json:"time_to_fix"`
	New        []jsonNew                        `json:"new"` // worst first, the first few
}

type jsonFix struct {
	Severity engine.Severity `json:"severity"`
	Fixed    int             `json:"fixed"`
	MeanDays float64         `json:"mean_days"`
	AtLeast  bool            `json:"at_least"` // the true mean is longer
}

type jsonNew struct {
	Policy      string          `json:"policy"`
	Severity    engine.Severity `json:"severity"`
	WorkspaceID string          `json:"workspace_id"`
	ResourceID  string          `json:"resource_id"`
	Fingerprint string          `json:"fingerprint"`
}

// trendJSON is null where no snapshot before was judged.
func trendJSON(t *engine.Trend) *jsonTrend {
	if t == nil {
		return nil
	}
	shown := &jsonTrend{
		Since: table.TimeText(t.Since), Workspaces: t.Workspaces,
		Changes: map[engine.Change]jsonSeverities{}, TimeToFix: []jsonFix{}, New: []jsonNew{},
	}
	if !t.Earliest.IsZero() {
		shown.Earliest = table.TimeText(t.Earliest)
	}
	for _, change := range engine.Changes() {
		shown.Changes[change] = severitiesJSON(func(level engine.Severity) int { return t.Counts[change][level] })
	}
	for _, level := range engine.Severities() {
		if fix, ok := t.Fixes[level]; ok {
			shown.TimeToFix = append(shown.TimeToFix, jsonFix{level, fix.Count, days(fix), fix.AtLeast})
		}
	}
	for _, f := range t.New {
		shown.New = append(shown.New, jsonNew{f.Policy, f.Severity, f.WorkspaceID, f.ResourceID, f.Fingerprint})
	}
	return shown
}

// days is a mean in days, to a tenth.
func days(f engine.Fix) float64 { return math.Round(f.Mean.Hours()/24*10) / 10 }
