package plan_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/plan"
)

// at is the moment of judgement of every fixture.
var at = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// estate is a small judged account.
type estate struct {
	workspaces []engine.WorkspaceReport
	policies   []engine.PolicyReport
	findings   []engine.Finding
	tokens     []engine.TokenRow
}

func newEstate() *estate {
	e := &estate{policies: fixturePolicies()}
	e.workspace("1", "prod")
	return e
}

func fixturePolicies() []engine.PolicyReport {
	token := func(id string, severity engine.Severity, remedy string, params ...engine.Param) engine.PolicyReport {
		return engine.PolicyReport{Policy: engine.Policy{ID: id, Severity: severity, Resource: engine.ResourceToken, Remedy: remedy, Params: params, Source: "package " + id}}
	}
	workspace := func(id, remedy string, needs string, params ...engine.Param) engine.PolicyReport {
		return engine.PolicyReport{Policy: engine.Policy{ID: id, Severity: engine.High, Resource: engine.ResourceWorkspace, Remedy: remedy, Needs: []string{needs}, Params: params}}
	}
	return []engine.PolicyReport{
		token("PAT-010", engine.Critical, "revoke"),
		token("PAT-013", engine.Critical, "narrow-scopes", engine.Param{Name: "minting_scopes", Default: []any{"authentication"}}),
		token("PAT-021", engine.Critical, "set-comment"),
		token("PAT-004", engine.High, "revoke"),
		token("PAT-014", engine.High, "narrow-scopes"),
		workspace("WS-001", "set-setting", "settings.maxTokenLifetimeDays", engine.Param{Name: "max_lifetime_days", Default: 90}),
		workspace("WS-002", "set-setting", "settings.enableTokensConfig"),
		workspace("WS-003", "change-grant", "grants", engine.Param{Name: "groups", Default: []any{"users", "account users"}}),
		workspace("WS-004", "manual", "grants"),
		token("PAT-009", engine.Medium, "notify"),
		token("PAT-018", engine.Info, "manual"),
	}
}

func (e *estate) workspace(id, name string) {
	coverage := map[engine.SectionName]engine.Coverage{}
	for _, section := range []engine.SectionName{engine.SectionWorkspace, engine.SectionTokens, engine.SectionPrincipals, engine.SectionSettings, engine.SectionGrants} {
		coverage[section] = engine.Coverage{Status: engine.Complete}
	}
	on := "true"
	e.workspaces = append(e.workspaces, engine.WorkspaceReport{
		Snapshot: engine.Snapshot{
			ID: int64(len(e.workspaces) + 1), Workspace: engine.Workspace{ID: id, Name: name, Host: "https://" + name + ".example.com"},
			CollectedAt: at, Coverage: coverage, Digest: "d" + id,
			Documents: map[engine.SectionName]json.RawMessage{engine.SectionWorkspace: json.RawMessage(`{"caller":{"id":"900"}}`)},
		},
		Settings: engine.Settings{"maxTokenLifetimeDays": {}, "enableTokensConfig": {Value: &on}},
		Grants: engine.Grants{
			{Principal: "admins", Kind: "group", Level: "CAN_MANAGE", Inherited: true},
			{Principal: "builders", Kind: "group", Level: "CAN_USE"},
			{Principal: "users", Kind: "group", Level: "CAN_USE"},
		},
	})
}

func ptr[T any](v T) *T { return &v }

// token adds a token that was last used so many days ago; -1: never.
func (e *estate) token(workspace, id, owner string, idle int64, change ...func(*engine.Subject)) {
	t := engine.Token{ID: id, OwnerID: owner, CreatorID: owner, Created: ptr(at.UnixMilli() - 400*engine.Day), Expires: ptr(engine.NeverExpires)}
	if idle >= 0 {
		t.LastUsed = ptr(at.UnixMilli() - idle*engine.Day)
	}
	party := engine.Party{ID: owner, Kind: engine.User, Name: "user" + owner + "@example.com", Active: ptr(true), Admin: ptr(false)}
	s := engine.Subject{Token: t, Owner: party, Creator: party}
	for _, f := range change {
		f(&s)
	}
	s.Facts = engine.Derive(s.Token, at.UnixMilli())
	for i := range e.workspaces {
		if e.workspaces[i].Snapshot.Workspace.ID == workspace {
			e.workspaces[i].Snapshot.Tokens++
			e.tokens = append(e.tokens, engine.TokenRow{Workspace: e.workspaces[i].Snapshot.Workspace, Subject: s})
		}
	}
}

// fill adds healthy tokens, so that a percentage has something to be of.
func (e *estate) fill(workspace string, n int) {
	for i := range n {
		e.token(workspace, fmt.Sprintf("healthy-%04d", i), "700", 1)
	}
}

func (e *estate) fail(policy, workspace, resource string) {
	for _, p := range e.policies {
		if p.Policy.ID == policy {
			e.findings = append(e.findings, engine.Finding{
				Policy: policy, Severity: p.Policy.Severity, Status: engine.Fail, WorkspaceID: workspace, Resource: p.Policy.Resource,
				ResourceID: resource, Message: policy + " says so", Evidence: map[string]any{"n": 1}, Remedy: p.Policy.Remedy,
			})
		}
	}
}

func (e *estate) input() plan.Input {
	return plan.Input{
		Report: engine.Report{
			AsOf: at, Workspaces: e.workspaces, Policies: e.policies, Findings: each(e.findings), Tokens: each(e.tokens),
		},
		Config:  plan.Config{Limits: engine.DefaultLimits()},
		Version: "v1", Engine: "v1.22.2", Planner: "planner",
	}
}

func each[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range list {
			if !yield(item, nil) {
				return
			}
		}
	}
}

func build(t testing.TB, in plan.Input) engine.Plan {
	t.Helper()
	p, err := plan.Build(context.Background(), in)
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	return p
}

// steps renders what matters of steps for comparison.
func steps(p engine.Plan) []string {
	lines := []string{}
	for _, s := range p.Steps {
		lines = append(lines, fmt.Sprintf("%s %s %s %s", s.Action, s.Target, s.Policies, s.Risk.Level))
	}
	return lines
}

func notPlanned(p engine.Plan) []string {
	lines := []string{}
	for _, n := range p.NotPlanned {
		lines = append(lines, n.Policy+" "+n.ResourceID+" "+n.Reason)
	}
	return lines
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// refusal wants an error of ClassRefused with a reason.
func refusal(t *testing.T, err error, reason string) {
	t.Helper()
	known, ok := engine.AsError(err)
	if !ok || known.Class != engine.ClassRefused || known.Reason != reason {
		t.Fatalf("error %v, want one of ClassRefused with reason %s", err, reason)
	}
	if known.Hint == "" {
		t.Errorf("error %v has no hint", err)
	}
}
