package main

import (
	"path"
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
	Include   selectionConfig   `yaml:"include"`
	Exclude   selectionConfig   `yaml:"exclude"`
	Labels    map[string]string `yaml:"labels"` // label → tag:NAME, or a text for all
	// WorkspaceProfile is the profile that reads a workspace, with {name} and
	// {id}; "": the account's own credential.
	WorkspaceProfile string `yaml:"workspace_profile"`

	line int
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
	if account.Cloud != "" && consoles()[account.Cloud] == "" {
		return c.errorf(line, "account: cloud %q: want aws, azure or gcp", account.Cloud)
	}
	if account.Profile == "" && account.AccountID == "" {
		return c.errorf(line, "account: want a profile, or account_id with host or cloud")
	}
	if account.Profile == "" && account.Host == "" && account.Cloud == "" {
		return c.errorf(line, "account: want the host of the account console, or the cloud")
	}
	for _, s := range []selectionConfig{account.Include, account.Exclude} {
		if bad := s.malformed(); bad != "" {
			return c.errorf(line, "account: %q is no pattern of names: use * and ?", bad)
		}
	}
	for _, label := range engine.SortedKeys(account.Labels) {
		if account.Labels[label] == "" || account.Labels[label] == tagPrefix {
			return c.errorf(line, "account: label %s: want tag:NAME or a text", label)
		}
	}
	return nil
}

// malformed is the first pattern that cannot be matched; "" when all can.
func (s selectionConfig) malformed() string {
	patterns := append([]string{}, s.Names...)
	for _, tag := range engine.SortedKeys(s.Tags) {
		patterns = append(patterns, s.Tags[tag])
	}
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return pattern
		}
	}
	return ""
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
