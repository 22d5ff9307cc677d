package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/databricks/databricks-sdk-go/common/environment"
	"github.com/databricks/databricks-sdk-go/config"
	"github.com/databricks/databricks-sdk-go/httpclient"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

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

// tenantID says nothing of the length: a repetition that is counted takes a millisecond
// of each start to compile.
var tenantID = regexp.MustCompile(`^[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?$`)

// AzureSubscription reports whether a text is an id of a subscription.
func AzureSubscription(text string) bool { return uuid.MatchString(text) }

// AzureTenant reports whether a text is an id or a domain of a tenant.
func AzureTenant(text string) bool { return len(text) <= 253 && tenantID.MatchString(text) }

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
	name := cmp.Or(a.Environment, configured, "public")
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
	for i := 1; i < len(account.Workspaces); i++ {
		if id := account.Workspaces[i].ID; id == account.Workspaces[i-1].ID {
			return account, badBody("Azure lists workspace %s twice", engine.SafeText(id))
		}
	}
	return account, nil
}

const (
	azureProvider   = "/providers/Microsoft.Databricks/workspaces"
	azureAPIVersion = "2018-04-01" // the oldest, which every cloud of Azure has
	azurePagesMost  = 1000         // of a subscription, which holds hundreds of workspaces
	succeeded       = "Succeeded"  // the state of a resource that is as it was asked for
)

// list reads the workspaces of a subscription, page by page.
func (c *azureClient) list(ctx context.Context, subscription string) ([]AccountWorkspace, *Problem) {
	path, query := "/subscriptions/"+subscription+azureProvider, url.Values{"api-version": {azureAPIVersion}}
	var listed []AccountWorkspace
	seen := map[string]bool{}
	for len(seen) < azurePagesMost {
		var page struct {
			Value *[]json.RawMessage `json:"value"`
			Next  string             `json:"nextLink"`
		}
		if _, problem := c.getJSON(ctx, path, query, &page, "nextLink"); problem != nil {
			switch problem.Reason { // in the words of Azure
			case reasonPermission:
				problem.Hint = "Give the principal the role Reader on subscription " + subscription + "."
			case reasonNotFound:
				problem.Hint = "Check the id of subscription " + subscription + ", and that the tenant is the one that it belongs to."
			case reasonUnauthenticated:
				problem.Hint = "Check that the tenant is the one that subscription " + subscription + " belongs to, or sign in again."
			}
			return nil, problem
		}
		if page.Value == nil {
			return nil, badBody("GET %s: the answer has no value", path)
		}
		for i, raw := range *page.Value {
			w, wrong := c.workspace(raw)
			if wrong != "" {
				return nil, badBody("GET %s: page %d, row %d: %s", path, len(seen)+1, i+1, wrong)
			}
			listed = append(listed, w)
		}
		if page.Next == "" {
			return listed, nil
		}
		if seen[page.Next] {
			break
		}
		seen[page.Next] = true
		var ok bool
		if path, query, ok = c.follow(page.Next); !ok {
			return nil, badBody("GET %s: the next page is not on %s: %s", path, c.base.Host, c.scrub.excerpt(page.Next))
		}
	}
	return nil, badBody("GET %s: the pages do not end", path)
}

// follow is where a link leads, if that is the host that gave it: the
// credential goes there.
func (c *azureClient) follow(link string) (path string, query url.Values, ok bool) {
	to, err := url.Parse(link)
	if err != nil || to.User != nil || to.Scheme != c.base.Scheme || !strings.EqualFold(withPort(to), withPort(c.base)) {
		return link, nil, false
	}
	return to.EscapedPath(), to.Query(), true
}

// withPort is the host with its port, the usual one included.
func withPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Hostname() + ":" + port
}

// workspace reads a row; wrong says why it cannot be.
func (c *azureClient) workspace(raw json.RawMessage) (w AccountWorkspace, wrong string) {
	o, ok := parseObject(raw)
	if !ok {
		return w, "is no object"
	}
	inner, ok := parseObject(o.members["properties"])
	if !ok {
		return w, "has no properties"
	}
	noText := func(key, _ string) { wrong = cmp.Or(wrong, key+" is no text") }
	row, properties := fields{o, noText}, fields{inner, noText}
	id, number, address := row.text("id"), properties.text("workspaceId"), properties.text("workspaceUrl")
	w = AccountWorkspace{Name: row.text("name"), Status: properties.text("provisioningState"), Cloud: "azure", azure: c.how}
	switch w.Tags, ok = asTags(o.members["tags"]); {
	case wrong != "":
		return w, wrong
	case !ok:
		return w, "tags are no texts"
	case id == "" || w.Name == "" || w.Status == "":
		return w, "lacks id, name or provisioningState"
	}
	if w.ID, ok = asID(json.RawMessage(number)); !ok {
		return w, "workspaceId is no number"
	}
	if w.ID == "" { // one that is being made, or could not be, has none
		w.ID = strings.ToLower(id)
		return w, ""
	}
	w.Host, w.Routed = c.workspaceURL(address)
	return w, ""
}

// azureName is the shape of the first labels of a workspace's host on Azure.
var azureName = regexp.MustCompile(`^adb-[0-9]{1,20}\.[0-9]{1,3}$`)

// workspaceURL is where a workspace answers. The address decides where the
// credential goes: it must be one of the cloud's Databricks domain. A simulated
// account lists its own.
func (c *azureClient) workspaceURL(address string) (host string, routed bool) {
	address = strings.ToLower(address)
	if c.target.Endpoint != "" && address == c.base.Host {
		return c.base.String(), true
	}
	name, inZone := strings.CutSuffix(address, c.zone)
	if !inZone || !azureName.MatchString(name) {
		return "", false
	}
	return "https://" + address, false
}

// The ways of unified authentication that give a token for Resource Manager,
// as the Databricks tools name them.
const (
	azureCLI    = "azure-cli"
	azureMSI    = "azure-msi"
	azureSecret = "azure-client-secret"
)

// signInAzure resolves the credential as every Databricks tool does, and takes
// a token of it for Resource Manager.
func (t AccountTarget) signInAzure(ctx context.Context, o Options, transport http.RoundTripper) (*azureClient, *Problem) {
	s := newSigner(Target{Name: t.Label(), Profile: t.Profile, ConfigFile: t.ConfigFile}, o, transport)
	cfg := s.cfg
	for _, loader := range cfg.Loaders {
		if err := loader.Configure(cfg); err != nil {
			return nil, configProblem("Check the profile and the DATABRICKS_ and ARM_ variables.", "%s", scrubber{secrets(cfg)}.excerpt(err.Error()))
		}
	}
	env, problem := t.Azure.cloud(cfg.AzureEnvironment)
	if problem != nil {
		return nil, problem
	}
	cfg.AzureTenantID = cmp.Or(t.Azure.Tenant, cfg.AzureTenantID)
	// The way that is asked for, else the one that the configuration is complete for, in
	// the order of the SDK.
	switch {
	case cfg.AuthType == azureCLI, cfg.AuthType == azureMSI, cfg.AuthType == azureSecret:
	case cfg.AuthType != "":
		return nil, configProblem("Use azure-cli, azure-msi or azure-client-secret, or leave auth_type out.",
			"the sign-in by %s gives no token for Azure", engine.SafeText(cfg.AuthType))
	case cfg.AzureUseMSI:
		cfg.AuthType = azureMSI
	case cfg.AzureClientSecret != "":
		cfg.AuthType = azureSecret
	default:
		cfg.AuthType = azureCLI
	}
	switch {
	case cfg.AzureTenantID != "" && !AzureTenant(cfg.AzureTenantID):
		return nil, configProblem("Give the tenant's id or domain.", "the tenant %q is none", engine.SafeText(cfg.AzureTenantID))
	case cfg.AuthType == azureSecret && (cfg.AzureClientID == "" || cfg.AzureClientSecret == "" || cfg.AzureTenantID == ""):
		return nil, configProblem("Set ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID, or azure_client_id, azure_client_secret and azure_tenant_id in the profile.",
			"the sign-in by %s takes client id, client secret and tenant", azureSecret)
	}
	resource := env.AzureResourceManagerEndpoint()
	if problem := s.connect(resource); problem != nil {
		return nil, problem
	}
	s.client.routeID, s.client.scrub.secrets = "", secrets(cfg)
	s.session.authType = cfg.AuthType
	// The SDK's own sources of tokens; that of client secrets is not to be had from it.
	carrier := signInTransport{transport, o.UserAgentVersion}
	var source oauth2.TokenSource
	switch cfg.AuthType {
	case azureMSI:
		const wait = 20 * time.Second
		client := httpclient.NewApiClient(httpclient.ClientConfig{Transport: carrier, RetryTimeout: wait, HTTPTimeout: wait})
		source = config.NewAzureMsiTokenSource(client, resource, cfg.AzureClientID)
	case azureSecret:
		grant := clientcredentials.Config{
			ClientID: cfg.AzureClientID, ClientSecret: cfg.AzureClientSecret, AuthStyle: oauth2.AuthStyleInParams,
			TokenURL:       env.AzureActiveDirectoryEndpoint() + url.PathEscape(cfg.AzureTenantID) + "/oauth2/token",
			EndpointParams: url.Values{"resource": {resource}},
		}
		source = grant.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: carrier, CheckRedirect: neverRedirect}))
	default:
		source = config.NewAzureCliTokenSource(ctx, resource, cfg.AzureTenantID)
	}
	source = oauth2.ReuseTokenSource(nil, source)
	s.client.sign = func(ctx context.Context, r *http.Request) *Problem {
		tokens := make(chan *oauth2.Token, 1)
		err := s.within(ctx, func() error {
			token, err := source.Token()
			tokens <- token
			return err
		})
		if err == nil {
			r.Header.Set("Authorization", "Bearer "+(<-tokens).AccessToken)
			return nil
		}
		p := s.signInProblem(ctx, err)
		switch {
		case p.Reason != reasonSignIn:
		case errors.Is(err, exec.ErrNotFound):
			return problemOf(reasonNoCredentials, "Set ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID, or install the Azure CLI and run `az login`.",
				"sign in: neither a credential for Azure nor the Azure CLI is there")
		case cfg.AuthType == azureCLI && strings.HasPrefix(err.Error(), "cannot get"):
			p.Hint = "Run `az login` first; `az account show` tells who is signed in."
		}
		return p
	}
	how := &azureSignIn{authType: cfg.AuthType, tenant: cfg.AzureTenantID}
	if t.Azure.Endpoint != "" {
		how.cloud = &env
	}
	return &azureClient{Client: s.client, target: *t.Azure, zone: env.DnsZone, how: how}, nil
}
