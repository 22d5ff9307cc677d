package parquet

import (
	"encoding/json"
	"slices"

	"patrol/engine"
)

// Place is in which snapshot a row was seen. Times are milliseconds, UTC.
type Place struct {
	WorkspaceID string `parquet:"workspace_id,dict,zstd"`
	Workspace   string `parquet:"workspace,dict,zstd"`
	Cloud       string `parquet:"cloud,dict,zstd"`
	Digest      string `parquet:"snapshot_digest,dict,zstd"` // whole; what tells snapshots apart in any database
	CollectedAt int64  `parquet:"collected_at,timestamp(millisecond),delta"`
}

func placeOf(s engine.Snapshot) Place {
	return Place{s.Workspace.ID, s.Workspace.Name, s.Workspace.Cloud, s.Digest, s.CollectedAt.UnixMilli()}
}

// tokenRow is a row of the table tokens. What is unknown is null.
type tokenRow struct {
	Place
	TokenID        string   `parquet:"token_id,zstd"`
	Comment        string   `parquet:"comment,zstd"`
	CreatedAt      *int64   `parquet:"created_at,timestamp(millisecond)"`
	ExpiresAt      *int64   `parquet:"expires_at,timestamp(millisecond)"`
	NeverExpires   *bool    `parquet:"never_expires"`
	LastUsedAt     *int64   `parquet:"last_used_at,timestamp(millisecond)"`
	Used           *bool    `parquet:"used"`
	AgeDays        *int64   `parquet:"age_days"`
	LifetimeDays   *int64   `parquet:"lifetime_days"`
	IdleDays       *int64   `parquet:"idle_days"`
	ExpiresInDays  *int64   `parquet:"expires_in_days"`
	Expired        *bool    `parquet:"expired"`
	OnBehalf       *bool    `parquet:"on_behalf"`
	OwnerID        string   `parquet:"owner_id,dict,zstd"`
	OwnerName      string   `parquet:"owner_name,dict,zstd"`
	OwnerKind      string   `parquet:"owner_kind,dict,zstd"`
	OwnerActive    *bool    `parquet:"owner_active"`
	OwnerAdmin     *bool    `parquet:"owner_admin"`
	CreatorID      string   `parquet:"creator_id,dict,zstd"`
	CreatorName    string   `parquet:"creator_name,dict,zstd"`
	Scopes         []string `parquet:"scopes,list"`
	AutoscopeState string   `parquet:"autoscope_state,dict,zstd"`
	Unknown        []string `parquet:"unknown,list"` // facts that could not be derived
}

func tokenRowOf(s engine.Snapshot, t engine.TokenRow) tokenRow {
	row := tokenRow{
		Place: placeOf(s), TokenID: t.Token.ID, Comment: t.Token.Comment, CreatedAt: t.Token.Created, LastUsedAt: t.Token.LastUsed,
		NeverExpires: t.Facts.NeverExpires, Used: t.Facts.Used, AgeDays: t.Facts.AgeDays, LifetimeDays: t.Facts.LifetimeDays,
		IdleDays: t.Facts.IdleDays, ExpiresInDays: t.Facts.ExpiresInDays, Expired: t.Facts.Expired, OnBehalf: t.Facts.OnBehalf,
		OwnerID: t.Token.OwnerID, OwnerName: t.Owner.Name, OwnerKind: string(t.Owner.Kind), OwnerActive: t.Owner.Active, OwnerAdmin: t.Owner.Admin,
		CreatorID: t.Token.CreatorID, CreatorName: t.Token.CreatorName, Scopes: t.Token.Scopes,
		AutoscopeState: t.Token.AutoscopeState, Unknown: t.Facts.Unknown,
	}
	row.ExpiresAt = moment(t.Token.Expires)
	return row
}

// moment is an end that lies in time: an endless token has none.
func moment(expires *int64) *int64 {
	if expires == nil || *expires == engine.NeverExpires {
		return nil
	}
	return expires
}

// resultRow is a row of the table results: findings, as audit.json has them.
type resultRow struct {
	Place
	AsOf        int64  `parquet:"as_of,timestamp(millisecond),delta"`
	Version     string `parquet:"patrol_version,dict,zstd"`
	Policy      string `parquet:"policy,dict,zstd"`
	Severity    string `parquet:"severity,dict,zstd"`
	Status      string `parquet:"status,dict,zstd"`
	Resource    string `parquet:"resource,dict,zstd"`
	ResourceID  string `parquet:"resource_id,zstd"`
	Owner       string `parquet:"owner,dict,zstd"`
	Message     string `parquet:"message,zstd"`
	Evidence    string `parquet:"evidence,zstd"` // JSON object
	Remedy      string `parquet:"remedy,dict,zstd"`
	Fingerprint string `parquet:"fingerprint,zstd"`
	WaiverID    string `parquet:"waiver_id,dict,zstd"`
	Since       *int64 `parquet:"since,timestamp(millisecond)"` // null: not known
}

func resultRowOf(r engine.Report, s engine.Snapshot, f engine.Finding) (resultRow, error) {
	evidence := f.Evidence
	if evidence == nil {
		evidence = map[string]any{}
	}
	text, err := json.Marshal(evidence)
	row := resultRow{
		Place: placeOf(s), AsOf: r.AsOf.UnixMilli(), Version: r.Version, Policy: f.Policy, Severity: string(f.Severity), Status: string(f.Status),
		Resource: string(f.Resource), ResourceID: f.ResourceID, Owner: f.Owner, Message: f.Message, Evidence: string(text),
		Remedy: f.Remedy, Fingerprint: f.Fingerprint,
	}
	if f.Waiver != nil {
		row.WaiverID = f.Waiver.ID
	}
	if !f.Since.IsZero() {
		since := f.Since.UnixMilli()
		row.Since = &since
	}
	return row, err
}

// changeRow is a row of the table changes: what became of a token since the
// workspace's snapshot before.
type changeRow struct {
	Place
	PreviousDigest string   `parquet:"previous_digest,dict,zstd"`
	PreviousAt     int64    `parquet:"previous_at,timestamp(millisecond),delta"`
	TokenID        string   `parquet:"token_id,zstd"`
	Change         string   `parquet:"change,dict,zstd"` // appeared, changed, vanished
	Fields         []string `parquet:"fields,list"`      // that changed
	Cause          string   `parquet:"cause,dict,zstd"`  // why it vanished; empty for other changes
	OwnerID        string   `parquet:"owner_id,dict,zstd"`
	Comment        string   `parquet:"comment,zstd"`
}

func changeRowOf(before, s engine.Snapshot, c engine.TokenChange) changeRow {
	last := c.Last()
	return changeRow{
		Place: placeOf(s), PreviousDigest: before.Digest, PreviousAt: before.CollectedAt.UnixMilli(), TokenID: last.ID,
		Change: string(c.Kind), Fields: slices.Clone(c.Fields), Cause: string(c.Cause),
		OwnerID: last.OwnerID, Comment: engine.RedactSecrets(last.Comment),
	}
}
