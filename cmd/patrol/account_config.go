package main

import (
	"path"
	"slices"
	"strings"

	"patrol/collectors"
	"patrol/engine"

	"github.com/goccy/go-yaml/ast"
)

// accountConfig says which account to ask for its workspaces, and which of
// them to read.
type accountConfig struct {
	Profile   string            `yaml:"profile"`
	Host      string            `yaml:"host"`
	AccountID string            `yaml:"account_id"`
	Cloud     string            `yaml:"cloud"`
	Azure     *azureConfig      `yaml:"azure"`
	Include   selectionConfig   `yaml:"include"`
	Exclude   selectionConfig   `yaml:"exclude"`
	Labels    map[string]string `yaml:"labels"` // label → tag:NAME, or a text for all
	// WorkspaceProfile is the profile that reads a workspace, with {name} and
	// {id}; "": the account's own credential.
	WorkspaceProfile string `yaml:"workspace_profile"`

	line   int
	values []configLeaf // all that is set, as it stands in the file
}

// azureConfig has Azure list the workspaces, in place of the account.
type azureConfig struct {
	Subscriptions []string `yaml:"subscriptions"`
	Tenant        string   `yaml:"tenant"`
	Environment   string   `yaml:"environment"`
	Endpoint      string   `yaml:"endpoint"` // of a simulated account
}

// selectionConfig chooses workspaces by what the account tells of them.
type selectionConfig struct {
	Names  []string          `yaml:"names"` // globs
	IDs    []string          `yaml:"ids"`
	Status []string          `yaml:"status"`
	Tags   map[string]string `yaml:"tags"` // tag → glob
}

// consoles are where accounts are asked, by cloud.
func consoles() map[string]string {
	return map[string]string{
		"aws": "https://accounts.cloud.databricks.com", "azure": "https://accounts.azuredatabricks.net", "gcp": "https://accounts.gcp.databricks.com",
	}
}

func (c *config) readAccount(node ast.Node, line int) error {
	account := &accountConfig{line: line}
	if err := c.decode(node, account); err != nil {
		return err
	}
	c.account = account
	var err error
	if account.values, err = c.leaves(node, "account"); err != nil {
		return err
	}
	if err := c.checkAccountPlace(account); err != nil {
		return err
	}
	for _, choice := range []struct {
		key string
		selectionConfig
	}{{"include", account.Include}, {"exclude", account.Exclude}} {
		if bad, is := choice.malformed(); is {
			return c.accountErrorf(choice.key, "%s: %q is no pattern of names: use * and ?", choice.key, bad)
		}
	}
	for _, label := range engine.SortedKeys(account.Labels) {
		if account.Labels[label] == "" || account.Labels[label] == tagPrefix {
			return c.accountErrorf("labels."+label, "label %s: want tag:NAME or a text", label)
		}
	}
	return nil
}

// checkAccountPlace holds against each other what says where to ask.
func (c *config) checkAccountPlace(a *accountConfig) error {
	_, azure := a.lineOf("azure")
	switch {
	case azure:
		return c.checkAzure(a)
	case a.Cloud != "" && consoles()[a.Cloud] == "":
		return c.accountErrorf("cloud", "cloud %q: want aws, azure or gcp", a.Cloud)
	case a.Profile == "" && a.AccountID == "":
		return c.accountErrorf("", "want a profile, account_id with host or cloud, or azure with subscriptions")
	case a.Profile == "" && a.Host == "" && a.Cloud == "":
		return c.accountErrorf("", "want the host of the account console, or the cloud")
	}
	return nil
}

func (c *config) checkAzure(a *accountConfig) error {
	for _, key := range []string{"host", "account_id", "cloud"} {
		if _, set := a.lineOf(key); set {
			return c.accountErrorf(key, "%s and azure: use one of them; Azure is asked without it", key)
		}
	}
	if a.Azure == nil || len(a.Azure.Subscriptions) == 0 {
		return c.accountErrorf("azure", "azure: want subscriptions")
	}
	for _, id := range a.Azure.Subscriptions {
		if !collectors.AzureSubscription(id) {
			return c.accountErrorf("azure.subscriptions", "azure.subscriptions: %q is no id of a subscription", id)
		}
	}
	switch azure := a.Azure; {
	case azure.Tenant != "" && !collectors.AzureTenant(azure.Tenant):
		return c.accountErrorf("azure.tenant", "azure.tenant: %q is neither an id nor a domain", azure.Tenant)
	case azure.Environment != "" && !slices.Contains(collectors.AzureEnvironments(), azure.Environment):
		return c.accountErrorf("azure.environment", "azure.environment %q: want %s", azure.Environment, strings.Join(collectors.AzureEnvironments(), ", "))
	case azure.Endpoint != "" && !collectors.AzureEndpoint(azure.Endpoint):
		return c.accountErrorf("azure.endpoint", "azure.endpoint: %q is no address of a simulated account, such as http://127.0.0.1:8080", azure.Endpoint)
	}
	return nil
}

// accountErrorf is an error about a key of the account.
func (c *config) accountErrorf(key, format string, args ...any) error {
	line, _ := c.account.lineOf(key)
	return c.errorf(line, "account: "+format, args...)
}

// lineOf is where a key of the account stands, or one of those below it; set
// is false, and the line that of the account, where it does not.
func (a *accountConfig) lineOf(key string) (line int, set bool) {
	for _, leaf := range a.values {
		if name, _ := strings.CutPrefix(leaf.key, "account."); name == key || strings.HasPrefix(name, key+".") {
			return leaf.line, true
		}
	}
	return a.line, false
}

// malformed is the first pattern that cannot be matched, if there is one.
func (s selectionConfig) malformed() (bad string, is bool) {
	patterns := append([]string{}, s.Names...)
	for _, tag := range engine.SortedKeys(s.Tags) {
		patterns = append(patterns, s.Tags[tag])
	}
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return pattern, true
		}
	}
	return "", false
}

// holds reports whether a workspace meets each kind of condition that is given.
func (s selectionConfig) holds(w collectors.AccountWorkspace) bool {
	for _, met := range s.conditions(w) {
		if !met {
			return false
		}
	}
	return true
}

// holdsAny reports whether a workspace meets any condition.
func (s selectionConfig) holdsAny(w collectors.AccountWorkspace) bool {
	for _, met := range s.conditions(w) {
		if met {
			return true
		}
	}
	return false
}

// conditions tells of each kind that is given whether it is met.
func (s selectionConfig) conditions(w collectors.AccountWorkspace) (met []bool) {
	if len(s.Names) > 0 {
		met = append(met, anyOf(s.Names, func(pattern string) bool { return glob(pattern, w.Name) }))
	}
	if len(s.IDs) > 0 {
		met = append(met, anyOf(s.IDs, func(id string) bool { return id == w.ID }))
	}
	if len(s.Status) > 0 {
		met = append(met, anyOf(s.Status, func(status string) bool { return strings.EqualFold(status, w.Status) }))
	}
	for _, tag := range engine.SortedKeys(s.Tags) {
		value, set := w.Tags[tag]
		met = append(met, set && glob(s.Tags[tag], value))
	}
	return met
}

func anyOf(list []string, is func(string) bool) bool {
	for _, one := range list {
		if is(one) {
			return true
		}
	}
	return false
}

const tagPrefix = "tag:"

// labelsOf are a workspace's labels: from its tags where the configuration
// says so; without any configured, its tags as they are.
func (a *accountConfig) labelsOf(w collectors.AccountWorkspace) map[string]string {
	if a.Labels == nil {
		return w.Tags
	}
	labels := map[string]string{}
	for label, source := range a.Labels {
		tag, isTag := strings.CutPrefix(source, tagPrefix)
		switch value, set := w.Tags[tag]; {
		case !isTag:
			labels[label] = source
		case set:
			labels[label] = value
		}
	}
	return labels
}
