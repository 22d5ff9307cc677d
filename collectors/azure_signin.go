package collectors

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"time"

	"github.com/databricks/databricks-sdk-go/common/environment"
	"github.com/databricks/databricks-sdk-go/config"
	"github.com/databricks/databricks-sdk-go/httpclient"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"patrol/engine"
)

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
	silenceSDK()
	s := &signer{target: Target{Name: t.Label(), Profile: t.Profile, ConfigFile: t.ConfigFile}, o: o, transport: transport, session: &session{}}
	s.cfg = &config.Config{Profile: t.Profile, ConfigFile: t.ConfigFile}
	for _, loader := range loaders(s.target) {
		if err := loader.Configure(s.cfg); err != nil {
			return nil, configProblem("Check the profile and the DATABRICKS_ and ARM_ variables.", "%s", scrubber{secrets(s.cfg)}.excerpt(err.Error()))
		}
	}
	env, problem := t.Azure.cloud(s.cfg.AzureEnvironment)
	if problem != nil {
		return nil, problem
	}
	s.cfg.AzureTenantID = firstOf(t.Azure.Tenant, s.cfg.AzureTenantID)
	if problem := chooseAzure(s.cfg); problem != nil {
		return nil, problem
	}
	if problem := s.connect(env.AzureResourceManagerEndpoint()); problem != nil {
		return nil, problem
	}
	s.client.routeID, s.client.scrub.secrets = "", secrets(s.cfg)
	s.session.authType = s.cfg.AuthType
	source := oauth2.ReuseTokenSource(nil, s.azureTokens(ctx, env))
	s.client.sign = func(ctx context.Context, r *http.Request) *Problem { return s.bear(ctx, source, r) }
	how := &azureSignIn{authType: s.cfg.AuthType, tenant: s.cfg.AzureTenantID}
	if t.Azure.Endpoint != "" {
		how.cloud = &env
	}
	return &azureClient{Client: s.client, target: *t.Azure, zone: env.DnsZone, how: how}, nil
}

// chooseAzure pins the way to sign in: the one that is asked for, else the one
// that the configuration is complete for, in the order of the SDK.
func chooseAzure(cfg *config.Config) *Problem {
	switch {
	case cfg.AuthType == azureCLI, cfg.AuthType == azureMSI, cfg.AuthType == azureSecret:
	case cfg.AuthType != "":
		return configProblem("Use azure-cli, azure-msi or azure-client-secret, or leave auth_type out.",
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
		return configProblem("Give the tenant's id or domain.", "the tenant %q is none", engine.SafeText(cfg.AzureTenantID))
	case cfg.AuthType == azureSecret && (cfg.AzureClientID == "" || cfg.AzureClientSecret == "" || cfg.AzureTenantID == ""):
		return configProblem("Set ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID, or azure_client_id, azure_client_secret and azure_tenant_id in the profile.",
			"the sign-in by %s takes client id, client secret and tenant", azureSecret)
	}
	return nil
}

// azureTokens are the SDK's own sources of tokens; that of client secrets is
// not to be had from it.
func (s *signer) azureTokens(ctx context.Context, env environment.DatabricksEnvironment) oauth2.TokenSource {
	carrier, resource := signInTransport{s.transport, userAgent(s.o)}, env.AzureResourceManagerEndpoint()
	switch s.cfg.AuthType {
	case azureMSI:
		wait := 20 * time.Second
		client := httpclient.NewApiClient(httpclient.ClientConfig{Transport: carrier, RetryTimeout: wait, HTTPTimeout: wait})
		return config.NewAzureMsiTokenSource(client, resource, s.cfg.AzureClientID)
	case azureSecret:
		grant := clientcredentials.Config{
			ClientID: s.cfg.AzureClientID, ClientSecret: s.cfg.AzureClientSecret, AuthStyle: oauth2.AuthStyleInParams,
			TokenURL:       env.AzureActiveDirectoryEndpoint() + url.PathEscape(s.cfg.AzureTenantID) + "/oauth2/token",
			EndpointParams: url.Values{"resource": {resource}},
		}
		return grant.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: carrier, CheckRedirect: neverRedirect}))
	}
	return config.NewAzureCliTokenSource(ctx, resource, s.cfg.AzureTenantID)
}

// bear puts a token on a request.
func (s *signer) bear(ctx context.Context, source oauth2.TokenSource, r *http.Request) *Problem {
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
		return problem(engine.Failed, reasonNoCredentials, "Set ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID, or install the Azure CLI and run `az login`.",
			"sign in: neither a credential for Azure nor the Azure CLI is there")
	case s.cfg.AuthType == azureCLI && strings.HasPrefix(err.Error(), "cannot get"):
		p.Hint = "Run `az login` first; `az account show` tells who is signed in."
	}
	return p
}
