package deliver

import (
	"context"
	"fmt"
	"io"
	"time"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// Metrics writes a run as OpenMetrics, for the textfile collector of Prometheus'
// node exporter: gauges only, so that it is valid in the older text format, too.
// complete is as of when the last complete audit judged; zero where there was none.
func Metrics(ctx context.Context, w io.Writer, r engine.Report, complete time.Time) error {
	registry := prometheus.NewRegistry()
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		registry.MustRegister(g)
		return g
	}
	text := engine.SafeText
	findings := gauge("patrol_findings", "Results that are not pass or not_applicable.", "severity", "policy", "workspace", "workspace_id", "status")
	err := table.Each(ctx, r.Findings, func(f engine.Finding) error {
		findings.WithLabelValues(string(f.Severity), text(f.Policy), text(f.Workspace), text(f.WorkspaceID), string(f.Status)).Inc()
		return nil
	})
	if err != nil {
		return err
	}
	failed := gauge("patrol_failed", "Failed results of a severity, also where there are none.", "severity")
	for _, level := range engine.Severities() {
		failed.WithLabelValues(string(level)).Set(float64(r.Summary.Failed(level)))
	}
	tokens := gauge("patrol_tokens", "Tokens of a workspace. No sample where they could not be read.", "workspace", "workspace_id")
	sections := gauge("patrol_section_complete", "1 where a section of a workspace was read whole, 0 where it was asked for and was not.", "workspace", "workspace_id", "section")
	for _, w := range r.Workspaces {
		name, id := text(w.Snapshot.Workspace.Name), text(w.Snapshot.Workspace.ID)
		if w.Snapshot.Coverage[engine.SectionTokens].Usable() {
			tokens.WithLabelValues(name, id).Set(float64(w.Snapshot.Tokens))
		}
		missing := map[engine.SectionName]bool{}
		for _, section := range w.Snapshot.Incomplete() {
			missing[section] = true
		}
		for section, coverage := range w.Snapshot.Coverage {
			switch {
			case missing[section]:
				sections.WithLabelValues(name, id, string(section)).Set(0)
			case coverage.Status == engine.Complete:
				sections.WithLabelValues(name, id, string(section)).Set(1)
			}
		}
	}
	reach := r.Reach()
	workspaces := gauge("patrol_workspaces", "Workspaces that were expected and that were read.", "which")
	workspaces.WithLabelValues("expected").Set(float64(reach.Expected))
	workspaces.WithLabelValues("read").Set(float64(reach.Read))
	verdict := gauge("patrol_verdict", "1 for the verdict of the audit.", "verdict")
	for _, v := range []engine.Verdict{engine.Clean, engine.Violations, engine.Incomplete} {
		verdict.WithLabelValues(string(v)).Set(0)
	}
	verdict.WithLabelValues(string(r.Verdict())).Set(1)
	gauge("patrol_audit_timestamp_seconds", "As of when the audit judged.").WithLabelValues().Set(float64(r.AsOf.Unix()))
	if !complete.IsZero() {
		gauge("patrol_last_complete_audit_timestamp_seconds", "As of when the last audit judged that could read and judge everything.").WithLabelValues().Set(float64(complete.Unix()))
	}
	families, err := registry.Gather()
	if err != nil {
		return fmt.Errorf("gather metrics: %w", err)
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToOpenMetrics(w, family); err != nil {
			return err
		}
	}
	_, err = expfmt.FinalizeOpenMetrics(w)
	return err
}
