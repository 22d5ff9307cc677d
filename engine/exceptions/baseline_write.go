package exceptions

import (
	"bufio"
	"encoding/json"
	"io"
	"iter"
	"time"

	"patrol/engine"
)

// schema grows when a baselineReader of the file would have to change.
const schema = 1

// timeLayout shows milliseconds only where there are any, as reports do.
const timeLayout = "2006-01-02T15:04:05.999Z07:00"

// WriteBaseline writes the findings that fail now, those that a baseline excuses
// already included, and returns how many they are. Waived ones are left out:
// they fail again when their waiver ends. Same findings, same bytes.
func WriteBaseline(w io.Writer, version string, asOf time.Time, findings iter.Seq2[engine.Finding, error], critical []string) (written, left int, err error) {
	out := bufio.NewWriter(w)
	head, err := json.Marshal(header{schema, version, asOf.UTC().Format(timeLayout)})
	if err != nil {
		return 0, 0, err
	}
	// Errors of a bufio.Writer stick: Flush reports the first.
	_, _ = out.Write(head[:len(head)-1])
	_, _ = out.WriteString(",\"findings\":[")
	for f, err := range findings {
		if err != nil {
			return written, left, err
		}
		if f.Status != engine.Fail && f.Status != engine.Baselined {
			continue
		}
		if !MayBaseline(f, critical) {
			left++
			continue
		}
		if err := writeEntry(out, entryOf(f), written == 0); err != nil {
			return written, left, err
		}
		written++
	}
	_, _ = out.WriteString("\n]}\n")
	return written, left, out.Flush()
}

type header struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"` // of patrol
	AsOf    string `json:"as_of"`
}

func entryOf(f engine.Finding) engine.BaselineEntry {
	return engine.BaselineEntry{
		Fingerprint: f.Fingerprint, Policy: f.Policy, Severity: f.Severity, Workspace: f.Workspace, WorkspaceID: f.WorkspaceID,
		Resource: f.Resource, ResourceID: f.ResourceID,
	}
}

// writeEntry writes one entry a line, so that a change of the file shows what changed.
func writeEntry(out *bufio.Writer, e engine.BaselineEntry, first bool) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if !first {
		_ = out.WriteByte(',')
	}
	_ = out.WriteByte('\n')
	_, err = out.Write(engine.EscapeJSON(line))
	return err
}
