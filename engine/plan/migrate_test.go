package plan

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"patrol/engine"
)

// hostileMigration is of a service principal whose every text is hostile.
func hostileMigration(t *testing.T) Migration {
	t.Helper()
	evil := "a'; touch /tmp/pwned; echo '${var.x} %{if} \"\n$(id)`id`"
	in := MigrationInput{
		Row: engine.TokenRow{Subject: engine.Subject{
			Token: engine.Token{ID: "00ff", Scopes: []string{evil}, Comment: evil},
			Owner: engine.Party{ID: evil, Name: evil, Kind: engine.ServicePrincipal},
			Peers: &engine.Peers{Activity: &engine.Activity{Events: 1, UserAgents: []string{"cicd/github " + evil}}},
		}},
		Snapshot: engine.Snapshot{Workspace: engine.Workspace{ID: evil, Name: evil, Host: evil}},
		LogRead:  true, AccountID: evil, Policies: []string{"PAT-016"}, Replies: evil,
	}
	return Migrate(in)
}

// TestMigrateQuotes: no text of others acts in a shell or in Terraform.
func TestMigrateQuotes(t *testing.T) {
	t.Parallel()
	m := hostileMigration(t)
	if !strings.Contains(m.Terraform, `$${var.x} %%{if}`) || strings.Contains(strings.ReplaceAll(m.Terraform, "$${", ""), "${") {
		t.Errorf("Terraform: %s", m.Terraform)
	}
	for _, command := range append(m.CLI, m.Revoke...) {
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "databricks() { :; }; patrol() { :; }\n"+command).CombinedOutput()
		if err != nil || len(out) > 0 || strings.Contains(command, "\n") {
			t.Errorf("%s: %v %s", command, err, out)
		}
	}
	if strings.ContainsAny(strings.ReplaceAll(m.Text(), "\n", ""), "\r\x1b") {
		t.Errorf("%q", m.Text())
	}
}

// TestMigrateToIdentities: what was seen decides by which identity to sign in.
func TestMigrateToIdentities(t *testing.T) {
	t.Parallel()
	github := "https://token.actions.githubusercontent.com"
	for name, test := range map[string]struct {
		kind     engine.Kind
		agents   []string
		policies []engine.FederationPolicy
		want     string
		auth     string
	}{
		"service principal":          {engine.ServicePrincipal, nil, nil, "by an OAuth secret", "oauth-m2m"},
		"service principal in CI":    {engine.ServicePrincipal, []string{"x cicd/gitlab"}, nil, "federation with GitLab CI/CD", "env-oidc"},
		"has a policy":               {engine.ServicePrincipal, nil, []engine.FederationPolicy{{OwnerID: "7", Issuer: github, Subject: "repo:a/b:environment:p"}}, "by the federation policy that it has", "github-oidc"},
		"policy with a wildcard":     {engine.ServicePrincipal, nil, []engine.FederationPolicy{{OwnerID: "7", Issuer: github, Subject: "repo:a/*"}}, "by an OAuth secret", "oauth-m2m"},
		"policy of somebody else":    {engine.ServicePrincipal, nil, []engine.FederationPolicy{{OwnerID: "8", Issuer: github, Subject: "s"}}, "by an OAuth secret", "oauth-m2m"},
		"policy of another pipeline": {engine.ServicePrincipal, []string{"cicd/azure-devops"}, []engine.FederationPolicy{{OwnerID: "7", Issuer: github, Subject: "s"}}, "federation with Azure DevOps", "env-oidc"},
		"policy of another issuer":   {engine.ServicePrincipal, nil, []engine.FederationPolicy{{OwnerID: "7", Issuer: "https://idp.example.com", Subject: "s"}}, "by the federation policy that it has", "env-oidc"},
		"person":                     {engine.User, []string{"curl/8"}, nil, "signs in as a person", "databricks-cli"},
		"person in CI":               {engine.User, []string{"cicd/github"}, nil, "a service principal of its own", "github-oidc"},
	} {
		in := MigrationInput{Row: engine.TokenRow{Subject: engine.Subject{
			Token: engine.Token{ID: "00ff"}, Owner: engine.Party{ID: "7", Name: "app", Kind: test.kind},
		}}, Federation: test.policies, FederationRead: true, LogRead: true}
		if test.agents != nil {
			in.Row.Peers = &engine.Peers{Activity: &engine.Activity{Events: 1, UserAgents: test.agents}}
		}
		m := Migrate(in)
		if !strings.Contains(m.Identity, test.want) || m.Env["DATABRICKS_AUTH_TYPE"] != test.auth {
			t.Errorf("%s: %s, %v", name, m.Identity, m.Env)
		}
	}
}

// TestMigrateScopes: what nobody can tell leaves the scopes open, and names the call.
func TestMigrateScopes(t *testing.T) {
	t.Parallel()
	of := func(token engine.Token, calls ...engine.Call) Migration {
		token.ID = "00ff"
		return Migrate(MigrationInput{LogRead: true, Row: engine.TokenRow{Subject: engine.Subject{
			Token: token, Owner: engine.Party{ID: "7", Kind: engine.ServicePrincipal},
			Peers: &engine.Peers{Activity: &engine.Activity{Events: 9, Detail: &engine.ActivityDetail{Days: 2, Addresses: 1, TopAddress: "192.0.2.7", Calls: calls}}},
		}}})
	}
	all := engine.Token{InferredScopes: []string{"sql"}}
	if m := of(all); strings.Join(m.Scopes, ",") != "sql" || !strings.Contains(m.Text(), "from 1 addresses, most often 192.0.2.7") {
		t.Errorf("%+v", m)
	}
	m := of(all, engine.Call{Service: "nobody", Action: "knows", Events: 3})
	if len(m.Scopes) != 0 || !strings.Contains(strings.Join(m.Unknown, "\n"), "which scopes these calls need: nobody/knows") {
		t.Errorf("%+v", m)
	}
	all.AutoscopeState = "AUTOSCOPE_STATE_RUNNING"
	if m := of(all); len(m.Scopes) != 0 || !strings.Contains(strings.Join(m.Unknown, "\n"), "still observes") {
		t.Errorf("%+v", m)
	}
	if m := of(engine.Token{Scopes: []string{"jobs:read"}}); strings.Join(m.Scopes, ",") != "jobs:read" {
		t.Errorf("%+v", m)
	}
}

// TestPipelinesAreThoseOfThePolicy: what PAT-030 takes for a pipeline with an
// identity of its own, migrate has a recipe for, and the other way round.
func TestPipelinesAreThoseOfThePolicy(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../policies/token/pipeline_identity.rego")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "default: [")
	list, _, _ = strings.Cut(list, "]")
	var agents []string
	for _, p := range pipelines {
		agents = append(agents, p.agents...)
	}
	if want := strings.Join(agents, ", "); list != want {
		t.Errorf("the policy has %s, migrate %s", list, want)
	}
}
