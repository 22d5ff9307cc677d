package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

// Migration is the recipe that takes whatever uses a token from it to OAuth:
// what was observed, what is not known, and the steps in their order.
type Migration struct {
	Workspace   string `json:"workspace"`
	WorkspaceID string `json:"workspace_id"`
	Host        string `json:"host"`
	Token       string `json:"token"`
	Owner       string `json:"owner" names:"person"`
	OwnerID     string `json:"owner_id"`
	OwnerKind   string `json:"owner_kind"`

	Observed []string `json:"observed"`
	Unknown  []string `json:"not_known"`

	Identity  string            `json:"identity"`
	Pipeline  string            `json:"pipeline"` // the one that was seen; "" where none was
	Scopes    []string          `json:"scopes"`   // empty where nobody can tell
	CLI       []string          `json:"cli"`
	Terraform string            `json:"terraform"`
	Env       map[string]string `json:"env"`
	Job       []string          `json:"job"` // what else the job's definition needs
	Check     []string          `json:"check"`
	Revoke    []string          `json:"revoke"`
}

// MigrationInput is what is known of a token that is to be replaced.
type MigrationInput struct {
	Row      engine.TokenRow
	Snapshot engine.Snapshot
	AsOf     time.Time
	// LogRead says that the audit log was read: without it nothing is known of use.
	LogRead    bool
	AccountID  string // "": not known
	Federation []engine.FederationPolicy
	Secrets    engine.Secrets
	// FederationRead and SecretsRead say that the lists were read whole.
	FederationRead, SecretsRead bool
	Policies                    []string // that the token breaks by the latest evaluation
	Replies                     string   // file that gives the token up
}

// pipeline is a platform that gives each of its jobs an OpenID Connect token.
type pipeline struct {
	name, issuer, audience, subject string
	agents                          []string // texts in its user agents, in small letters
	env                             map[string]string
	job                             []string
}

// pipelines by the documentation of each platform and of Databricks's federation
// for it, as of 2026-11-30. Capitals stand for what nobody can tell from outside.
var pipelines = []pipeline{
	{
		"GitHub Actions", "https://token.actions.githubusercontent.com", "", "repo:ORGANISATION/REPOSITORY:environment:ENVIRONMENT",
		[]string{"cicd/github", "github-actions"}, map[string]string{"DATABRICKS_AUTH_TYPE": "github-oidc"},
		[]string{"permissions: {id-token: write, contents: read}", "environment: ENVIRONMENT"},
	},
	{
		"GitLab CI/CD", "https://gitlab.com", "", "project_path:GROUP/PROJECT:ref_type:branch:ref:BRANCH",
		[]string{"cicd/gitlab", "gitlab-runner"}, map[string]string{"DATABRICKS_AUTH_TYPE": "env-oidc"},
		[]string{"id_tokens: {DATABRICKS_OIDC_TOKEN: {aud: ACCOUNT_ID}}", "The issuer is the address of your GitLab where it is not gitlab.com."},
	},
	{
		"Azure DevOps", "https://vstoken.dev.azure.com/ORGANISATION_ID", "api://AzureADTokenExchange", "p://ORGANISATION/PROJECT/PIPELINE",
		[]string{"cicd/azure-devops", "azure-devops"}, map[string]string{"DATABRICKS_AUTH_TYPE": "env-oidc"},
		[]string{"A step puts the job's token into DATABRICKS_OIDC_TOKEN."},
	},
	{
		"Bitbucket Pipelines", "https://api.bitbucket.org/2.0/workspaces/WORKSPACE/pipelines-config/identity/oidc", "AUDIENCE", "SUBJECT",
		[]string{"cicd/bitbucket", "bitbucket"}, map[string]string{"DATABRICKS_AUTH_TYPE": "env-oidc", "DATABRICKS_OIDC_TOKEN_ENV": "BITBUCKET_STEP_OIDC_TOKEN"},
		[]string{"oidc: true in the step; the repository's settings show audience and subject."},
	},
	{
		"CircleCI", "https://oidc.circleci.com/org/ORGANISATION_ID", "ORGANISATION_ID", "org/ORGANISATION_ID/project/PROJECT_ID/user/USER_ID",
		[]string{"cicd/circle", "circleci"}, map[string]string{"DATABRICKS_AUTH_TYPE": "env-oidc", "DATABRICKS_OIDC_TOKEN_ENV": "CIRCLE_OIDC_TOKEN"}, nil,
	},
	{
		"Terraform Cloud", "https://app.terraform.io", "", "organization:ORGANISATION:project:PROJECT:workspace:WORKSPACE:run_phase:PHASE",
		[]string{"cicd/tf-cloud"}, map[string]string{"DATABRICKS_AUTH_TYPE": "env-oidc", "DATABRICKS_OIDC_TOKEN_ENV": "TFC_WORKLOAD_IDENTITY_TOKEN"},
		[]string{"TFC_WORKLOAD_IDENTITY_AUDIENCE=ACCOUNT_ID in the workspace's variables"},
	},
}

const (
	mostCalls      = 8          // that a recipe names
	secretLifetime = "7776000s" // 90 days
	idOfNewOne     = "SERVICE_PRINCIPAL_ID"
	idOfNewApp     = "APPLICATION_ID"
)

// ReadMigration is what a snapshot tells beside the token itself; replies is the file
// that gives the token up.
func ReadMigration(s engine.Snapshot, replies string) (MigrationInput, error) {
	in := MigrationInput{Snapshot: s, Replies: replies, LogRead: s.Coverage[engine.SectionAuditLog].Usable()}
	var account engine.AccountListing
	for _, part := range []struct {
		section engine.SectionName
		into    any
		whole   *bool
	}{{engine.SectionAccount, &account, new(bool)}, {engine.SectionFederation, &in.Federation, &in.FederationRead}, {engine.SectionSecrets, &in.Secrets, &in.SecretsRead}} {
		*part.whole = s.Coverage[part.section].Complete()
		if text := s.Documents[part.section]; len(text) > 0 {
			if err := json.Unmarshal(text, part.into); err != nil {
				return in, fmt.Errorf("read %s of workspace %s: %w", part.section, s.Workspace.Name, err)
			}
		}
	}
	if !strings.HasPrefix(account.AccountID, "azure:") {
		in.AccountID = account.AccountID
	}
	return in, nil
}

// Migrate writes the recipe of a token.
func Migrate(in MigrationInput) Migration {
	t, owner := in.Row.Token, in.Row.Owner
	m := Migration{
		Workspace: in.Snapshot.Workspace.Name, WorkspaceID: in.Snapshot.Workspace.ID, Host: in.Snapshot.Workspace.Host,
		Token: t.ID, Owner: owner.Label(), OwnerID: owner.ID, OwnerKind: string(owner.Kind),
		Scopes: []string{}, CLI: []string{}, Env: map[string]string{}, Job: []string{},
	}
	var activity *engine.Activity
	if in.Row.Peers != nil {
		activity = in.Row.Peers.Activity
	}
	switch {
	case t.LastUsed != nil:
		m.observed("last used on %s, by the list of tokens", time.UnixMilli(*t.LastUsed).UTC().Format(time.DateOnly))
	case in.Row.Facts.Used != nil && !*in.Row.Facts.Used:
		m.observed("never used, by the list of tokens: perhaps nothing needs it")
	default:
		m.unknown("when it was last used")
	}
	if t.Comment != "" {
		m.observed("comment: %s", engine.RedactSecrets(t.Comment))
	}
	var seen *pipeline
	switch {
	case activity != nil:
		seen = m.observe(activity)
	case in.LogRead:
		m.observed("the audit log that was read has no event of it")
	default:
		m.unknown("who uses it, from where and for what: no audit log was read (docs/usage.md tells how)")
	}

	// The scopes are those that the token has, where they are few, else what its use needs by the platform and the audit log.
	need := engine.NeedOf(&t, activity)
	state := engine.AutoscopeState(t.AutoscopeState)
	few := len(t.Scopes) > 0 && !slices.Contains(t.Scopes, engine.AllAPIs)
	if few {
		m.observed("scopes of the token: %s", strings.Join(t.Scopes, ", "))
	} else if len(need.Scopes) > 0 {
		m.observed("its use needs the scopes %s", strings.Join(need.Scopes, ", "))
	}
	switch {
	case few:
		m.Scopes = t.Scopes
	case state != nil && (*state == "running" || *state == "api_not_covered"):
		m.unknown("which scopes it needs in all: the platform still observes it, or cannot")
	case len(need.Unknown) > 0:
		m.unknown("which scopes these calls need: %s", strings.Join(need.Unknown, ", "))
	case len(need.Scopes) == 0:
		m.unknown("which scopes it needs: the token opens every API, and nobody tells what it uses")
	default:
		m.Scopes = need.Scopes
	}
	if in.AccountID == "" {
		m.unknown("the account's id: ACCOUNT_ID stands for it")
	}

	manyAddresses := activity != nil && activity.MaxIPsPerDay > 3 // what PAT-017 takes for a sign of automation
	if seen != nil || owner.Kind == engine.ServicePrincipal || manyAddresses {
		in.workload(&m, seen, cmp.Or(in.AccountID, "ACCOUNT_ID"))
	} else {
		m.Identity = m.Owner + " signs in as a person, by OAuth in the browser"
		if !in.LogRead {
			m.unknown("whether a pipeline uses it; if one does, it needs a service principal of its own")
		}
		m.CLI = []string{"databricks auth login --host " + remedy.ShellQuote(m.Host)}
		if len(m.Scopes) > 0 {
			m.CLI[0] += " --scopes " + remedy.ShellQuote(strings.Join(m.Scopes, ","))
		}
		m.Env["DATABRICKS_AUTH_TYPE"] = "databricks-cli"
		m.Check = []string{"databricks current-user me"}
	}
	m.Env["DATABRICKS_HOST"] = m.Host

	// The last step is a plan that revokes the token and nothing else.
	token, workspace, replies, file := remedy.ShellQuote(t.ID), remedy.ShellQuote(m.WorkspaceID), remedy.ShellQuote(in.Replies), remedy.ShellQuote("revoke-"+t.ID[:min(8, len(t.ID))]+".json")
	if len(in.Policies) == 0 {
		m.unknown("whether a plan can hold the token: the latest evaluation has no finding about it")
		m.Revoke = []string{"databricks token-management delete -- " + token + "   # cannot be undone"}
		return m
	}
	m.Revoke = []string{
		"patrol migrate " + token + " --workspace " + workspace + " --replies " + replies,
		"patrol plan --replies " + replies + " --workspace " + workspace + " --owner " + remedy.ShellQuote(m.OwnerID) + " --action revoke -o " + file,
		"patrol show " + file,
		"patrol approve " + file + " --step ID   # that of this token, as show tells it",
		"patrol apply " + file,
	}
	return m
}

func (m *Migration) observed(format string, args ...any) {
	m.Observed = append(m.Observed, fmt.Sprintf(format, args...))
}

func (m *Migration) unknown(format string, args ...any) {
	m.Unknown = append(m.Unknown, fmt.Sprintf(format, args...))
}

// observe says what the audit log knows of the token's use, and names the pipeline
// that was seen.
func (m *Migration) observe(a *engine.Activity) (seen *pipeline) {
	m.observed("%d events in the audit log, the last at %s", a.Events, time.UnixMilli(a.Last).UTC().Format(time.RFC3339))
	if d := a.Detail; d != nil {
		m.observed("used on %s from %s addresses, most often %s; %d calls refused",
			engine.Plural(int(d.Days), "day"), engine.Comma(int(d.Addresses)), cmp.Or(d.TopAddress, "unknown"), d.Refused)
		var calls []string
		for _, call := range d.Calls[:min(len(d.Calls), mostCalls)] {
			calls = append(calls, fmt.Sprintf("%s %d", call, call.Events))
		}
		if len(d.Calls) > mostCalls {
			calls = append(calls, "…")
		}
		if len(calls) > 0 {
			m.observed("calls: %s", strings.Join(calls, ", "))
		}
	}
	if len(a.UserAgents) > 0 {
		m.observed("user agents: %s", strings.Join(a.UserAgents, ", "))
	}
	var names []string
	agents := strings.ToLower(strings.Join(a.UserAgents, "\n"))
	for i, p := range pipelines {
		if slices.ContainsFunc(p.agents, func(part string) bool { return strings.Contains(agents, part) }) {
			seen, names = cmp.Or(seen, &pipelines[i]), append(names, p.name)
		}
	}
	if len(names) > 1 {
		m.unknown("which of several pipelines is the main one (%s): each needs a policy of its own", strings.Join(names, ", "))
	}
	if seen != nil {
		m.Pipeline = seen.name
	}
	return seen
}

// workload is the recipe of a service principal's token, and of a person's that
// drives automation.
func (in MigrationInput) workload(m *Migration, seen *pipeline, account string) {
	principal := in.Row.Owner.Kind == engine.ServicePrincipal
	id, app, hclID := m.OwnerID, in.Row.Owner.Name, remedy.HCLQuote(m.OwnerID)
	m.Identity = "the service principal " + m.Owner + " itself"
	tf := "# The provider of the account: host is its console, account_id its id.\n"
	if !principal {
		name := "for-token-" + m.Token[:min(8, len(m.Token))]
		m.Identity = "a service principal of its own, in place of " + m.Owner
		m.unknown("what %s may do that the workload needs: grant the service principal these rights, and no others", m.Owner)
		id, app, hclID = idOfNewOne, idOfNewApp, "databricks_service_principal.workload.id"
		m.CLI = append(m.CLI, "databricks service-principals create --display-name "+remedy.ShellQuote(name)+"   # shows id and applicationId")
		tf += fmt.Sprintf("resource \"databricks_service_principal\" \"workload\" {\n  display_name = %s\n}\n\n", remedy.HCLQuote(name))
	}
	m.Env["DATABRICKS_CLIENT_ID"] = app

	// A federation policy by which the owner can sign in from where it was seen: none with a wildcard, which is to be replaced.
	has := slices.IndexFunc(in.Federation, func(p engine.FederationPolicy) bool {
		return p.OwnerID == in.Row.Owner.ID && p.OwnerID != "" && !strings.ContainsAny(p.Subject, "*?") && (seen == nil || pipelineOf(p.Issuer) == seen)
	})
	switch {
	case has >= 0:
		policy := in.Federation[has]
		m.Identity += ", by the federation policy that it has"
		m.observed("federation policy %s: issuer %s, subject %s", policy.ID, policy.Issuer, policy.Subject)
		m.pipelineEnv(cmp.Or(seen, pipelineOf(policy.Issuer)), account)
	case seen != nil:
		audience := cmp.Or(seen.audience, account)
		m.Identity += ", by workload identity federation with " + seen.name
		m.unknown("which job of %s it is: replace what stands in capitals", seen.name)
		body := map[string]any{"oidc_policy": map[string]any{"issuer": seen.issuer, "audiences": []string{audience}, "subject": seen.subject}}
		m.CLI = append(m.CLI, "databricks account service-principal-federation-policy create "+remedy.ShellQuote(id)+" --json "+remedy.ShellQuote(remedy.ASCII(body)))
		m.Terraform = tf + fmt.Sprintf("resource \"databricks_service_principal_federation_policy\" \"workload\" {\n  service_principal_id = %s\n"+
			"  oidc_policy = {\n    issuer    = %s\n    audiences = [%s]\n    subject   = %s\n  }\n}\n",
			hclID, remedy.HCLQuote(seen.issuer), remedy.HCLQuote(audience), remedy.HCLQuote(seen.subject))
		m.pipelineEnv(seen, account)
	default:
		m.Identity += ", by an OAuth secret that lives 90 days"
		m.unknown("where it runs: if its platform issues OpenID Connect tokens, a federation policy is better than a secret")
		owned := 0
		for _, secret := range in.Secrets {
			if secret.OwnerID == m.OwnerID && secret.Status == "ACTIVE" {
				owned++
			}
		}
		if owned > 0 {
			m.observed("its owner has %d OAuth secrets already; whoever uses the token may not have one", owned)
		} else if !in.SecretsRead && principal {
			m.unknown("whether it has an OAuth secret (--with service_principal_secrets)")
		}
		m.CLI = append(m.CLI, "databricks service-principal-secrets-proxy create "+remedy.ShellQuote(id)+" --lifetime "+secretLifetime+"   # shows the secret once: keep it where the token was")
		m.Terraform = tf + fmt.Sprintf("resource \"databricks_service_principal_secret\" \"workload\" {\n  service_principal_id = %s\n  lifetime             = %s\n}\n", hclID, remedy.HCLQuote(secretLifetime))
		m.Env["DATABRICKS_AUTH_TYPE"], m.Env["DATABRICKS_CLIENT_SECRET"] = "oauth-m2m", "(the secret)"
	}
	if !in.FederationRead {
		m.unknown("whether it has a federation policy (--account with --with federation_policies)")
	}
	if len(m.Scopes) > 0 {
		m.Job = append(m.Job, "scopes = "+strings.Join(m.Scopes, ",")+" in the profile that it signs in by")
	}
	m.Check = []string{"databricks auth describe", "databricks current-user me   # names " + engine.SafeText(cmp.Or(app, "the service principal"))}
}

// pipelineOf is the platform of an issuer; nil: none that patrol knows.
func pipelineOf(issuer string) *pipeline {
	for i, p := range pipelines {
		fixed, _, _ := strings.Cut(p.issuer, "ORGANISATION")
		fixed, _, _ = strings.Cut(fixed, "WORKSPACE")
		if strings.HasPrefix(issuer, fixed) {
			return &pipelines[i]
		}
	}
	return nil
}

// pipelineEnv is what a job of a platform, nil for another one, sets to sign in.
func (m *Migration) pipelineEnv(p *pipeline, account string) {
	if p == nil {
		m.Env["DATABRICKS_AUTH_TYPE"] = "env-oidc"
		m.Job = append(m.Job, "The job's token of the policy's issuer goes into DATABRICKS_OIDC_TOKEN.")
		return
	}
	maps.Copy(m.Env, p.env)
	for _, line := range p.job {
		m.Job = append(m.Job, strings.ReplaceAll(line, "ACCOUNT_ID", account))
	}
}

// GivenUp is the file of replies that gives tokens up.
func GivenUp(migrations []Migration) Replies {
	replies := Replies{Schema: RepliesSchema, Replies: []Reply{}}
	for _, m := range migrations {
		replies.Replies = append(replies.Replies, Reply{
			Workspace: m.Workspace, WorkspaceID: m.WorkspaceID, Token: m.Token, Owner: m.Owner, OwnerID: m.OwnerID,
			Policies: []string{}, Reply: engine.ReplyRevoke, Comment: "replaced by OAuth",
		})
	}
	return replies
}

// Text is the recipe for people.
func (m Migration) Text() string {
	var b strings.Builder
	line := func(indent, format string, args ...any) {
		b.WriteString(indent + engine.SafeText(fmt.Sprintf(format, args...)) + "\n")
	}
	list := func(title string, lines []string) {
		if len(lines) > 0 {
			b.WriteString("\n" + title + "\n")
		}
		for _, text := range lines {
			line("  ", "%s", text)
		}
	}
	line("", "Token %s of %s in %s (%s)", m.Token, m.Owner, m.Workspace, m.WorkspaceID)
	list("Observed", m.Observed)
	list("Not known", m.Unknown)
	b.WriteString("\n1. Identity: " + engine.SafeText(m.Identity) + "\n")
	for _, command := range m.CLI {
		line("  ", "%s", command)
	}
	if m.Terraform != "" {
		b.WriteString("\n  or by Terraform:\n")
		for text := range strings.Lines(m.Terraform) {
			line("    ", "%s", strings.TrimRight(text, "\n"))
		}
	}
	needs := "not known"
	if len(m.Scopes) > 0 {
		needs = strings.Join(m.Scopes, ", ")
	}
	b.WriteString("\n2. Scopes: " + engine.SafeText(needs) + "\n")
	var env []string
	for _, name := range engine.SortedKeys(m.Env) {
		env = append(env, name+"="+m.Env[name])
	}
	where := "where the token is set"
	if m.Pipeline != "" {
		where = "in " + m.Pipeline
	}
	list("3. Set "+where+", and remove DATABRICKS_TOKEN there", append(env, m.Job...))
	list("4. Check", m.Check)
	list("5. Revoke the token, once nothing has used it for some days", m.Revoke)
	return b.String()
}
