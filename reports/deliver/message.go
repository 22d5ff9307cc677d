// Package deliver tells others of a run: its summary and new findings to Slack,
// Microsoft Teams and webhooks, gauges for Prometheus, and tickets as JSON files.
// Nothing is sent unless it is configured.
package deliver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// Message is what a receiver is told of a run. Its JSON is what a webhook gets.
type Message struct {
	Schema     int                     `json:"schema"`
	Run        string                  `json:"run"` // the same for the same snapshots, policies and moment
	AsOf       string                  `json:"as_of"`
	Verdict    engine.Verdict          `json:"verdict"`
	Narrowed   bool                    `json:"narrowed"` // only some policies ran
	Tokens     int                     `json:"tokens"`
	Workspaces int                     `json:"workspaces"`
	Failed     map[engine.Severity]int `json:"failed"`
	Statuses   engine.Tally            `json:"statuses"`
	NewCount   int                     `json:"new_count"`
	New        []engine.Finding        `json:"new"` // the worst, at most mostNew
}

// mostNew bounds the new findings that a message names.
const mostNew = 50

// NewMessage sums a run up. A finding is new when it was first seen in this run;
// of severities below least none is named or counted as new.
func NewMessage(ctx context.Context, r engine.Report, least engine.Severity) (Message, error) {
	m := Message{
		Schema: 1, Run: run(r), AsOf: table.TimeText(r.AsOf), Verdict: r.Verdict(), Narrowed: r.Narrowed,
		Tokens: r.Summary.Tokens, Workspaces: r.Summary.Workspaces, Failed: map[engine.Severity]int{}, Statuses: r.Summary.Statuses, New: []engine.Finding{},
	}
	for _, level := range engine.Severities() {
		m.Failed[level] = r.Summary.Failed(level)
	}
	err := table.Each(ctx, r.Findings, func(f engine.Finding) error {
		if f.Status == engine.Fail && f.Since.Equal(r.AsOf) && f.Severity.AtLeast(least) {
			if m.NewCount++; len(m.New) < mostNew {
				m.New = append(m.New, f)
			}
		}
		return nil
	})
	return m, err
}

// run names a run by what it judged and by what: judging the same again is the
// same run.
func run(r engine.Report) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", table.TimeText(r.AsOf), engine.InForceDigest(r.Policies))
	for _, w := range r.Workspaces {
		fmt.Fprintf(h, "%q %s\n", w.Snapshot.Workspace.ID, w.Snapshot.Digest)
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// title and lines are the message for people, in harmless text of ours and
// findings of anybody.
func (m Message) title() string {
	return fmt.Sprintf("patrol: %s, %s", m.Verdict, engine.Plural(m.NewCount, "new finding"))
}

func (m Message) facts() [][2]string {
	failed := engine.SeverityCounts(func(level engine.Severity) int { return m.Failed[level] })
	facts := [][2]string{
		{"Read", engine.Plural(m.Tokens, "token") + " in " + engine.Plural(m.Workspaces, "workspace")},
		{"Failed", cmp.Or(strings.Join(failed, ", "), "none")},
		{"As of", m.AsOf},
	}
	if n := m.Statuses[engine.Unknown] + m.Statuses[engine.Errored]; n > 0 {
		facts = append(facts, [2]string{"Not judged", engine.Plural(n, "result")})
	}
	if m.Narrowed {
		facts = append(facts, [2]string{"Policies", "some only"})
	}
	return facts
}

// findings are a line each, at most so many.
func (m Message) findings(most int) []string {
	var lines []string
	for _, f := range m.New[:min(most, len(m.New))] {
		where := f.Workspace
		if f.Resource == engine.ResourceToken {
			where += ", token " + f.ResourceID
		}
		if f.Owner != "" {
			where += ", " + f.Owner
		}
		lines = append(lines, engine.SafeText(fmt.Sprintf("%s %s %s: %s", f.Severity, f.Policy, where, f.Message)))
	}
	if more := m.NewCount - len(lines); more > 0 {
		lines = append(lines, "… and "+engine.Comma(more)+" more")
	}
	return lines
}
