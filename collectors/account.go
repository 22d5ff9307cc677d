package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/databricks/databricks-sdk-go/common/environment"
	"github.com/databricks/databricks-sdk-go/config"
	"golang.org/x/time/rate"

	"patrol/engine"
)

// AccountTarget is an account whose workspaces are to be found. Without
// Profile and Host, the environment and the default profile decide.
type AccountTarget struct {
	Profile    string // of .databrickscfg; its values win over the environment
	Host       string // of the account console, or of a host that serves account and workspaces
	AccountID  string // "": the profile's, else the environment's, else the host's own
	ConfigFile string // "": DATABRICKS_CONFIG_FILE, else ~/.databrickscfg

	Azure *AzureAccount // ask Azure in place of the account; Host and AccountID are then not used
}

// Label names the account before anything is known about it.
func (t AccountTarget) Label() string {
	if t.Azure != nil {
		return "account " + t.Azure.id()
	}
	return "account " + cmp.Or(t.Profile, t.AccountID, t.Host, "of the environment")
}

// Account is what an account says of its workspaces.
type Account struct {
	ID         string
	Host       string             // where it was asked
	Workspaces []AccountWorkspace // by id

	client *accountClient // signed in; nil where Azure was asked
	lists  map[engine.SectionName]*accountList
}

// AccountWorkspace is a workspace as its account lists it.
type AccountWorkspace struct {
	ID     string // of a resource of Azure that has none yet: its resource id
	Name   string
	Status string // RUNNING or Succeeded, or why nothing answers: PROVISIONING, FAILED, BANNED, CANCELLING…, as it is spelled
	Detail string // what the account says of the status
	Cloud  string // aws, azure, gcp; "" when unknown
	Host   string // with scheme; "" when the account does not tell a usable one
	Routed bool   // Host serves other workspaces too
	Tags   map[string]string

	azure *azureSignIn // nil: the account listed it
}

// Tag is the value of a tag. Azure's tags have names of any letter case.
func (w AccountWorkspace) Tag(name string) (value string, set bool) {
	if value, set = w.Tags[name]; set || w.Cloud != "azure" {
		return value, set
	}
	for _, other := range engine.SortedKeys(w.Tags) {
		if strings.EqualFold(other, name) {
			return w.Tags[other], true
		}
	}
	return "", false
}

// Running reports whether the workspace should answer.
func (w AccountWorkspace) Running() bool {
	if w.azure != nil {
		return w.Status == succeeded
	}
	return w.Status == "RUNNING"
}

// Target is the workspace as one to read with the account's own credential.
func (w AccountWorkspace) Target(account AccountTarget) Target {
	t := Target{
		Name: cmp.Or(w.Name, w.ID), Profile: account.Profile, ConfigFile: account.ConfigFile,
		Host: w.Host, WorkspaceID: w.ID, Cloud: w.Cloud, Discovered: true, Routed: w.Routed, azure: w.azure,
	}
	switch {
	case w.azure != nil && w.Status != succeeded:
		t.Unreadable = "Azure lists it as " + engine.SafeText(w.Status)
	case w.azure != nil && w.Host == "":
		t.Unreadable = "Azure does not tell a usable address"
	case w.azure != nil:
	case !w.Running():
		t.Unreadable = "the account lists it as " + cmp.Or(w.Status, "without a status")
		if w.Detail != "" {
			t.Unreadable += ": " + w.Detail
		}
	case w.Host == "":
		t.Unreadable = "the account does not tell a usable deployment name"
	}
	return t
}

// knownHost is the host before any configuration is read: an account's
// credential is found as if its workspaces did not exist.
func (t Target) knownHost() string {
	if t.Discovered {
		return ""
	}
	return t.Host
}

// configureDiscovered takes the account's credential to a workspace that it listed.
func (t Target) configureDiscovered(cfg *config.Config) error {
	cfg.Host, cfg.WorkspaceID = t.Host, ""
	if how := t.azure; how != nil {
		cfg.AuthType, cfg.AzureTenantID, cfg.Cloud = how.authType, cmp.Or(how.tenant, cfg.AzureTenantID), environment.CloudAzure
		cfg.AzureUseMSI = how.authType == azureMSI
		// The header of this name has Azure make an admin of whoever has rights on
		// the resource. Reading makes nobody an admin.
		cfg.AzureResourceID = ""
		if how.cloud != nil {
			cfg.DatabricksEnvironment = how.cloud
		}
	}
	if t.Routed {
		cfg.WorkspaceID = t.WorkspaceID
		if t.azure == nil {
			return nil
		}
	}
	cfg.AccountID, cfg.DiscoveryURL, cfg.TokenAudience = "", "", "" // they belong to the account's host
	return nil
}

// Discover asks an account for its workspaces. Its error is an *engine.Error as in Outcome.
func Discover(ctx context.Context, t AccountTarget, o Options) (account Account, err error) {
	o = o.withDefaults()
	transport, problem := newTransport(o)
	if problem == nil {
		defer transport.CloseIdleConnections()
		if t.Azure != nil {
			account, problem = t.discoverAzure(ctx, o, transport)
		} else {
			account, problem = t.discover(ctx, o, transport)
		}
	}
	if problem != nil {
		return account, problem.error("list the workspaces of", t.Label())
	}
	return account, nil
}

// accountClient reads from an account.
type accountClient struct {
	*Client
	id string
}

// path is a path of the account: of one with {account} in it.
func (c *accountClient) path(of string) string { return strings.Replace(of, "{account}", c.id, 1) }

// discover resolves the account's credential and reads the whole list of its
// workspaces, which has no pages and proves the credential. A list that is half
// understood would hide a workspace.
func (t AccountTarget) discover(ctx context.Context, o Options, transport http.RoundTripper) (account Account, problem *Problem) {
	s := newSigner(Target{Name: t.Label(), Profile: t.Profile, Host: t.Host, ConfigFile: t.ConfigFile}, o, transport)
	s.cfg.Host, s.cfg.AccountID = t.Host, t.AccountID
	if problem := s.resolve(ctx, true); problem != nil {
		return account, problem
	}
	switch cfg := s.cfg; {
	case cfg.AuthType == "pat" || cfg.AuthType == "basic":
		return account, configProblem("Sign in by OAuth: client_id and client_secret of an account admin's service principal, or `databricks auth login`.",
			"the account API takes no personal access token")
	case !accountID.MatchString(cfg.AccountID):
		return account, configProblem("Set account_id in the profile or under `account:`; the account console shows it.",
			"the account id %q is none", engine.SafeText(cfg.AccountID))
	}
	if _, problem := s.authenticate(ctx); problem != nil {
		return account, problem
	}
	s.client.routeID = ""
	c := &accountClient{s.client, s.cfg.AccountID}
	account = Account{ID: c.id, Host: c.base.String(), client: c,
		lists: map[engine.SectionName]*accountList{engine.SectionFederation: {}, engine.SectionOAuthApps: {}}}
	path := c.path("/api/2.0/accounts/{account}/workspaces")
	body, _, problem := c.getBody(ctx, path, nil)
	if problem != nil {
		return account, problem
	}
	rows, isList := elements(body)
	if !isList {
		return account, badBody("GET %s: the answer is no list of workspaces", path)
	}
	seen := map[string]bool{}
	for i, raw := range rows {
		w, problem := c.workspace(raw)
		switch {
		case problem != "":
			return account, badBody("GET %s: row %d: %s", path, i+1, problem)
		case seen[w.ID]:
			return account, badBody("GET %s: row %d: workspace %s is there twice", path, i+1, w.ID)
		}
		seen[w.ID] = true
		account.Workspaces = append(account.Workspaces, w)
	}
	slices.SortFunc(account.Workspaces, func(a, b AccountWorkspace) int { return strings.Compare(a.ID, b.ID) })
	return account, nil
}

// accountID is the shape of an account's id, which becomes part of a path.
var accountID = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// workspace reads a row; problem says why it cannot be.
func (c *accountClient) workspace(raw json.RawMessage) (w AccountWorkspace, problem string) {
	o, ok := parseObject(raw)
	if !ok {
		return w, "is no object"
	}
	if w.ID, ok = asID(o.members["workspace_id"]); !ok || w.ID == "" {
		return w, "has no workspace_id"
	}
	row := fields{o, func(key, _ string) { problem = cmp.Or(problem, key+" is no text") }}
	w.Name, w.Status, w.Detail = row.text("workspace_name"), row.text("workspace_status"), row.text("workspace_status_message")
	if w.Cloud = strings.ToLower(row.text("cloud")); !slices.Contains(clouds, w.Cloud) {
		w.Cloud = cloudOf(c.base)
	}
	if w.Tags, ok = asTags(o.members["custom_tags"]); !ok {
		return w, cmp.Or(problem, "custom_tags are no texts")
	}
	deployment, _ := asText(o.members["deployment_name"]) // one that is no text is no usable name
	w.Host, w.Routed = workspaceHost(c.base, deployment)
	return w, problem
}

func asTags(raw json.RawMessage) (tags map[string]string, ok bool) {
	if absent(raw) {
		return nil, true
	}
	return tags, json.Unmarshal(raw, &tags) == nil
}

var clouds = []string{"aws", "azure", "gcp"}

// deploymentName is the shape of the first labels of a workspace's host. It
// comes from outside and decides where the credential goes.
var deploymentName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[0-9]{1,3})?$`)

// workspaceHost is where a workspace answers: on a console's domain, the
// deployment's name in place of the console's; anywhere else the very host
// that listed it, which then serves all workspaces.
func workspaceHost(account *url.URL, deployment string) (host string, routed bool) {
	first, zone, _ := strings.Cut(account.Host, ".")
	console := first == "accounts" || strings.HasPrefix(first, "accounts-")
	if !console || cloudOf(account) == "" {
		return account.String(), true
	}
	if !deploymentName.MatchString(deployment) {
		return "", false
	}
	return account.Scheme + "://" + deployment + "." + zone, false
}

// The directory of an account has limits of its own: documented are 240 lists,
// without a unit. This is half of that a minute, after a few at once.
const (
	accountSCIMPerSecond = 2
	accountSCIMAtOnce    = 10
)

// AccountDirectory is the users and service principals of an account, read once
// for all its workspaces. It takes some 200 bytes a principal.
type AccountDirectory struct {
	id         string
	read       chan struct{} // closed when what follows is there
	coverage   engine.Coverage
	principals []engine.AccountPrincipal // by id
}

// ReadDirectory begins to read the directory, beside whatever else is read. It
// is nil for an account that has none to ask, as where Azure listed workspaces.
// The end of ctx ends the reading.
func (a Account) ReadDirectory(ctx context.Context) *AccountDirectory {
	if a.client == nil {
		return nil
	}
	d := &AccountDirectory{id: a.ID, read: make(chan struct{})}
	go func() {
		defer close(d.read)
		c := a.client.accountDirectory()
		defer c.http.CloseIdleConnections()
		ctx, cancel := context.WithTimeoutCause(ctx, c.o.SectionTimeout, errSectionTimeout)
		defer cancel()
		people, problem := readPeople(ctx, c, ",active")
		if problem != nil { // nothing else depends on it
			if problem.Reason == reasonPermission {
				problem.Hint = "Sign in as an account admin, who may list the account's users and service principals."
			}
			d.coverage = problem.Coverage
			return
		}
		for _, p := range people.rows {
			d.principals = append(d.principals, engine.AccountPrincipal{
				ID: strings.Clone(p.ID), Kind: p.Kind, Active: p.Active, Name: strings.Clone(p.Name), DisplayName: strings.Clone(p.DisplayName),
			})
		}
		d.coverage = people.coverage(len(d.principals))
	}()
	return d
}

// Coverage waits for the reading and tells what became of it; Count is that of
// all principals.
func (d *AccountDirectory) Coverage() engine.Coverage {
	<-d.read
	return d.coverage
}

// accountDirectory is the client with the account's directory and its limits.
func (c *accountClient) accountDirectory() *Client {
	asking := c.forSection(engine.SectionAccountPrincipals)
	asking.scim = "/api/2.0/accounts/" + c.id + "/scim/v2/"
	limits := newPace(c.o.RequestRate)
	limits.buckets = append([]bucket{{asking.scim, rate.NewLimiter(accountSCIMPerSecond, accountSCIMAtOnce)}}, limits.buckets...)
	asking.pace = limits
	return asking
}

// Section is what the account knows of the owners and creators of a capture's
// tokens whom the workspace's own directory, read whole, does not hold. It
// waits for the reading.
func (d *AccountDirectory) Section(c engine.Capture) (engine.Section, error) {
	coverage := d.Coverage()
	if !coverage.Usable() {
		return engine.Section{Coverage: coverage}, nil
	}
	known := engine.AccountPrincipals{AccountID: d.id, Principals: []engine.AccountPrincipal{}, Total: len(d.principals)}
	tokens, directory := c.Sections[engine.SectionTokens], c.Sections[engine.SectionPrincipals]
	if tokens.Coverage.Usable() && directory.Coverage.Whole() && tokens.Tokens != nil {
		held := map[string]bool{"": true}
		for _, p := range directory.Principals {
			held[p.ID] = true
		}
		for t, err := range tokens.Tokens {
			if err != nil {
				return engine.Section{}, fmt.Errorf("look for owners in the account: %w", err)
			}
			for _, id := range []string{t.OwnerID, t.CreatorID} {
				if held[id] {
					continue
				}
				held[id] = true
				place, found := slices.BinarySearchFunc(d.principals, id, func(p engine.AccountPrincipal, id string) int { return cmp.Compare(p.ID, id) })
				if found {
					known.Principals = append(known.Principals, d.principals[place])
				}
			}
		}
		slices.SortFunc(known.Principals, func(a, b engine.AccountPrincipal) int { return cmp.Compare(a.ID, b.ID) })
	}
	coverage.Count = len(known.Principals)
	return engine.Section{Coverage: coverage, Document: document(known)}, nil
}
