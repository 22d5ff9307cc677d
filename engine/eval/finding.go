package eval

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"patrol/engine"
)

// finding makes the finding of an outcome.
func (v *workspaceView) finding(a *assignment, on target, o outcome) engine.Finding {
	w := v.snapshot.Workspace
	f := engine.Finding{
		Policy: a.ID, Title: a.Title, Severity: a.severity, Status: o.status,
		Workspace: w.Name, WorkspaceID: w.ID, Resource: on.resource, ResourceID: on.id, Owner: on.owner, OwnerID: on.ownerID,
		Message: o.message, Evidence: o.evidence, Remedy: a.Remedy, Row: on.row,
		OwnerInAccount: on.account,
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
