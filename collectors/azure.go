package collectors

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/databricks/databricks-sdk-go/common/environment"
	"github.com/databricks/databricks-sdk-go/config"

	"patrol/engine"
)

// AzureAccount finds workspaces by the resource lists of Azure subscriptions,
// which takes rights on Azure and none on the Databricks account.
type AzureAccount struct {
	Subscriptions []string // ids, as AzureSubscription tells
	Tenant        string   // "": the profile's or the environment's
	Environment   string   // public, usgovernment, china; "": the profile's or the environment's, else public
	Endpoint      string   // of a simulated account on loopback, in place of all of Azure; "": Azure
}

var (
	subscriptionID = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	tenantID       = regexp.MustCompile(`^[0-9A-Za-z]([0-9A-Za-z.-]{0,251}[0-9A-Za-z])?$`)
)

// AzureSubscription reports whether a text is an id of a subscription.
func AzureSubscription(text string) bool { return subscriptionID.MatchString(text) }

// AzureTenant reports whether a text is an id or a domain of a tenant.
func AzureTenant(text string) bool { return tenantID.MatchString(text) }

// AzureEnvironments are the clouds of Azure that Databricks runs in, sorted.
func AzureEnvironments() []string { return []string{"china", "public", "usgovernment"} }

// AzureEndpoint reports whether a text is the address of a simulated account:
// on loopback, because it stands in for whoever is given the credential.
func AzureEndpoint(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "http" && loopback(u.Hostname()) && u.User == nil &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}

// id names what was asked, in place of the id of a Databricks account.
func (a AzureAccount) id() string {
	ids := make([]string, len(a.Subscriptions))
	for i, id := range a.Subscriptions {
		ids[i] = strings.ToLower(id)
	}
	slices.Sort(ids)
	return "azure:" + strings.Join(slices.Compact(ids), "+")
}

// cloud is where the services of the cloud are, as the SDK knows them.
func (a AzureAccount) cloud(configured string) (environment.DatabricksEnvironment, *Problem) {
	name := firstOf(a.Environment, configured, "public")
	for _, env := range environment.AllEnvironments() {
		rehearsal := strings.HasPrefix(env.DnsZone, ".dev.") || strings.HasPrefix(env.DnsZone, ".staging.")
		if env.AzureEnvironment == nil || rehearsal || !strings.EqualFold(env.AzureEnvironment.Name, name) {
			continue
		}
		if a.Endpoint != "" {
			services := *env.AzureEnvironment
			base := strings.TrimRight(a.Endpoint, "/") + "/"
			services.ResourceManagerEndpoint, services.ServiceManagementEndpoint, services.ActiveDirectoryEndpoint = base, base, base
			env.AzureEnvironment = &services
		}
		return env, nil
	}
	return environment.DatabricksEnvironment{}, configProblem("Use one of: "+strings.Join(AzureEnvironments(), ", ")+".",
		"the Azure environment %q is none", engine.SafeText(name))
}

// azureSignIn is how workspaces that Azure lists are signed in to: in the way
// that the list was read, whatever else is configured.
type azureSignIn struct {
	authType string
	tenant   string
	cloud    *environment.DatabricksEnvironment // nil: by the host
}

func (a *azureSignIn) configure(cfg *config.Config) {
	cfg.AuthType, cfg.AzureTenantID, cfg.Cloud = a.authType, firstOf(a.tenant, cfg.AzureTenantID), environment.CloudAzure
	cfg.AzureUseMSI = a.authType == azureMSI
	// The header of this name has Azure make an admin of whoever has rights on
	// the resource. Reading makes nobody an admin.
	cfg.AzureResourceID = ""
	if a.cloud != nil {
		cfg.DatabricksEnvironment = a.cloud
	}
}

// azureClient reads the resource lists of Azure.
type azureClient struct {
	*Client
	target AzureAccount
	zone   string // of the cloud's workspaces, such as .azuredatabricks.net
	how    *azureSignIn
}

// discoverAzure reads the lists of all subscriptions. One that cannot be read
// fails them all: what it hides would not be missed.
func (t AccountTarget) discoverAzure(ctx context.Context, o Options, transport http.RoundTripper) (Account, *Problem) {
	c, problem := t.signInAzure(ctx, o, transport)
	if problem != nil {
		return Account{}, problem
	}
	account := Account{ID: t.Azure.id(), Host: c.base.String()}
	for _, subscription := range slices.Compact(slices.Sorted(slices.Values(t.Azure.Subscriptions))) {
		listed, problem := c.list(ctx, strings.ToLower(subscription))
		if problem != nil {
			return account, problem
		}
		account.Workspaces = append(account.Workspaces, listed...)
	}
	slices.SortFunc(account.Workspaces, func(a, b AccountWorkspace) int { return strings.Compare(a.ID, b.ID) })
	for i, w := range account.Workspaces[min(1, len(account.Workspaces)):] {
		if w.ID == account.Workspaces[i].ID {
			return account, badBody("Azure lists workspace %s twice", engine.SafeText(w.ID))
		}
	}
	return account, nil
}
