package eval

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"patrol/engine"
)

// finding makes the finding of an outcome. s is nil for a workspace.
func (v *workspaceView) finding(a *assignment, s *subject, o outcome) engine.Finding {
	w := v.snapshot.Workspace
	f := engine.Finding{
		Policy: a.ID, Title: a.Title, Severity: a.severity, Status: o.status,
		Workspace: w.Name, WorkspaceID: w.ID, Resource: engine.ResourceWorkspace, ResourceID: w.ID,
		Message: o.message, Evidence: o.evidence, Remedy: a.Remedy,
	}
	if s != nil {
		f.Resource, f.ResourceID, f.Owner, f.OwnerID = engine.ResourceToken, s.Token.ID, s.Owner.Label(), s.Owner.ID
	}
	if f.Evidence == nil {
		f.Evidence = map[string]any{}
	}
	f.Fingerprint = fingerprint(f)
	return f
}

// fingerprint identifies a finding across runs: what is wrong with what, where.
func fingerprint(f engine.Finding) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{f.Policy, f.WorkspaceID, string(f.Resource), f.ResourceID}, "\x00")))
	return hex.EncodeToString(sum[:])[:32]
}
