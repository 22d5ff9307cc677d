package config

import (
	"slices"
	"strings"

	"patrol/collectors"
	"patrol/engine"
)

// Account says which account to ask for its workspaces, and which of them to
// read.
type Account struct {
	Profile   string            `yaml:"profile" doc:"Section of .databrickscfg that signs in to the account"`
	Host      string            `yaml:"host" doc:"Address of the account console"`
	AccountID string            `yaml:"account_id" doc:"Id of the account"`
	Cloud     string            `yaml:"cloud" one_of:"aws,azure,gcp" doc:"Cloud of the account, in place of host"`
	Azure     *Azure            `yaml:"azure" doc:"Azure lists the workspaces, in place of the account"`
	Include   Selection         `yaml:"include" doc:"Only workspaces that meet all of this"`
	Exclude   Selection         `yaml:"exclude" doc:"No workspace that meets any of this"`
	Labels    map[string]string `yaml:"labels" doc:"Labels of each workspace: tag:NAME, or a text for all"`
	// WorkspaceProfile: "" is the account's own credential.
	WorkspaceProfile string `yaml:"workspace_profile" doc:"Profile that reads a workspace, with {name} and {id}"`
}

// Azure has Azure list the workspaces, in place of the account.
type Azure struct {
	Subscriptions []string `yaml:"subscriptions" doc:"Ids of subscriptions"`
	Tenant        string   `yaml:"tenant" doc:"Id or domain of the tenant"`
	Environment   string   `yaml:"environment" doc:"Which Azure"`
	Endpoint      string   `yaml:"endpoint" doc:"Of a simulated account"`
}

// Selection chooses workspaces by what the account lists.
type Selection struct {
	Names  []string          `yaml:"names" doc:"Patterns of names with * and ?"`
	IDs    []string          `yaml:"ids" doc:"Ids of workspaces"`
	Status []string          `yaml:"status" doc:"As the account spells it"`
	Tags   map[string]string `yaml:"tags" doc:"Patterns of values of tags"`
}

// consoles are where accounts are asked, by cloud.
var consoles = map[string]string{
	"aws": "https://accounts.cloud.databricks.com", "azure": "https://accounts.azuredatabricks.net", "gcp": "https://accounts.gcp.databricks.com",
}

// Console is where the account is asked, where its profile does not say so.
func (a *Account) Console() string {
	if a.Host == "" && a.Profile == "" {
		return consoles[a.Cloud]
	}
	return a.Host
}

func (f *File) checkAccount() {
	a := f.Account
	for _, choice := range []struct {
		key string
		Selection
	}{{"account.include", a.Include}, {"account.exclude", a.Exclude}} {
		for _, pattern := range choice.Names {
			f.checkPatterns(choice.key, map[string]string{"names": pattern})
		}
		f.checkPatterns(choice.key+".tags", choice.Tags)
	}
	for _, label := range engine.SortedKeys(a.Labels) {
		if a.Labels[label] == tagPrefix {
			f.source.Wrong("account.labels."+label, "want tag:NAME or a text")
		}
	}
	switch {
	case f.Given("account.azure"):
		f.checkAzure(a)
	case a.Profile == "" && a.AccountID == "":
		f.source.Wrong("account", "want a profile, account_id with host or cloud, or azure with subscriptions")
	case a.Profile == "" && a.Host == "" && a.Cloud == "":
		f.source.Wrong("account", "want the host of the account console, or the cloud")
	}
}

func (f *File) checkAzure(a *Account) {
	for _, key := range []string{"host", "account_id", "cloud"} {
		if f.Given("account." + key) {
			f.source.Wrong("account."+key, "%s and azure: use one of them; Azure is asked without it", key)
		}
	}
	if a.Azure == nil || len(a.Azure.Subscriptions) == 0 {
		f.source.Wrong("account.azure", "want subscriptions")
		return
	}
	for _, id := range a.Azure.Subscriptions {
		if !collectors.AzureSubscription(id) {
			f.source.Wrong("account.azure.subscriptions", "%q is no id of a subscription", id)
		}
	}
	if a.Azure.Tenant != "" && !collectors.AzureTenant(a.Azure.Tenant) {
		f.source.Wrong("account.azure.tenant", "%q is neither an id nor a domain", a.Azure.Tenant)
	}
	if known := collectors.AzureEnvironments(); a.Azure.Environment != "" && !slices.Contains(known, a.Azure.Environment) {
		f.source.Wrong("account.azure.environment", "%q: %s", a.Azure.Environment, engine.DidYouMean(a.Azure.Environment, known))
	}
	if a.Azure.Endpoint != "" && !collectors.AzureEndpoint(a.Azure.Endpoint) {
		f.source.Wrong("account.azure.endpoint", "%q is no address of a simulated account, such as http://127.0.0.1:8080", a.Azure.Endpoint)
	}
}

// Chooses reports whether a workspace meets each kind of condition of include
// and none of exclude.
func (a *Account) Chooses(w collectors.AccountWorkspace) bool {
	return !slices.Contains(a.Include.conditions(w), false) && !slices.Contains(a.Exclude.conditions(w), true)
}

// conditions are, for each kind that is given, whether it is met.
func (s Selection) conditions(w collectors.AccountWorkspace) (met []bool) {
	if len(s.Names) > 0 {
		met = append(met, slices.ContainsFunc(s.Names, func(pattern string) bool { return engine.MatchGlob(pattern, w.Name) }))
	}
	if len(s.IDs) > 0 {
		met = append(met, slices.Contains(s.IDs, w.ID))
	}
	if len(s.Status) > 0 {
		met = append(met, slices.ContainsFunc(s.Status, func(status string) bool { return strings.EqualFold(status, w.Status) }))
	}
	for _, tag := range engine.SortedKeys(s.Tags) {
		value, set := w.Tag(tag)
		met = append(met, set && engine.MatchGlob(s.Tags[tag], value))
	}
	return met
}

const tagPrefix = "tag:"

// LabelsOf are a workspace's labels: from its tags where the configuration
// says so; without any configured, its tags, those of Azure by names in lower
// case because there letter case means nothing.
func (a *Account) LabelsOf(w collectors.AccountWorkspace) map[string]string {
	labels := map[string]string{}
	if a.Labels == nil {
		for tag, value := range w.Tags {
			if w.Cloud == "azure" {
				tag = strings.ToLower(tag)
			}
			labels[tag] = value
		}
		return labels
	}
	for label, source := range a.Labels {
		tag, isTag := strings.CutPrefix(source, tagPrefix)
		switch value, set := w.Tag(tag); {
		case !isTag:
			labels[label] = source
		case set:
			labels[label] = value
		}
	}
	return labels
}
