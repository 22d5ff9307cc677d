package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"patrol/cmd/internal/config"
	"patrol/collectors"
	"patrol/engine"
)

// discovery is what an account told, once per run.
type discovery struct {
	targets []collectors.Target
	listing engine.AccountListing

	account   collectors.Account
	directory *collectors.AccountDirectory // of its users and service principals; nil until it is asked for, and where there is none
}

// accountOf is the account of this run, nil when there is none: the flag's,
// with what the configuration says of it, else the configuration's.
func (a *app) accountOf(o *sourceOptions) *config.Account {
	configured := a.config.Account
	switch {
	case len(o.profiles)+len(o.from) > 0:
		return nil
	case o.account == "":
		return configured
	case configured != nil && configured.Profile == o.account:
		return configured
	}
	return &config.Account{Profile: o.account}
}

// discover asks the account of this run, if there is one, for its workspaces.
func (a *app) discover(ctx context.Context, o *sourceOptions) error {
	account := a.accountOf(o)
	if account == nil || o.found != nil {
		return nil
	}
	if o.account == "" && len(a.config.Workspaces) > 0 {
		return a.config.Errorf("account", "workspaces and account: use one of them, or choose with --profile or --account")
	}
	target := accountTarget(account, o)
	listed, err := collectors.Discover(ctx, target, a.collectOptions(o))
	if err != nil {
		return err
	}
	chosen, err := chooseWorkspaces(account, target, listed)
	if err != nil {
		return err
	}
	a.say("account %s lists %s; %d expected", listed.ID, plural(len(listed.Workspaces), "workspace"), len(chosen))
	o.found = discovered(account, target, listed.ID, chosen)
	o.found.account = listed
	return nil
}

func accountTarget(a *config.Account, o *sourceOptions) collectors.AccountTarget {
	t := collectors.AccountTarget{Profile: a.Profile, Host: a.Console(), AccountID: a.AccountID, ConfigFile: o.configFile}
	if a.Azure != nil {
		t.Azure = &collectors.AzureAccount{
			Subscriptions: a.Azure.Subscriptions, Tenant: a.Azure.Tenant, Environment: a.Azure.Environment, Endpoint: a.Azure.Endpoint,
		}
	}
	return t
}

// chooseWorkspaces narrows what an account lists. An id that it does not list is an
// error: a misspelt one would never be missed.
func chooseWorkspaces(a *config.Account, t collectors.AccountTarget, listed collectors.Account) ([]collectors.AccountWorkspace, error) {
	for _, id := range slices.Concat(a.Include.IDs, a.Exclude.IDs) {
		if !slices.ContainsFunc(listed.Workspaces, func(w collectors.AccountWorkspace) bool { return w.ID == id }) {
			return nil, engine.UsageError("choose workspaces of", t.Label(), "Correct `ids` under `account:`.", fmt.Errorf("it lists no workspace %s", id))
		}
	}
	var chosen []collectors.AccountWorkspace
	for _, w := range listed.Workspaces {
		if a.Chooses(w) {
			chosen = append(chosen, w)
		}
	}
	if len(chosen) == 0 {
		return nil, engine.UsageError("choose workspaces of", t.Label(), "Widen `include`, or narrow `exclude`, under `account:`.",
			fmt.Errorf("none of %d is left", len(listed.Workspaces)))
	}
	return chosen, nil
}

// discovered makes targets, each under a name of its own.
func discovered(a *config.Account, t collectors.AccountTarget, id string, chosen []collectors.AccountWorkspace) *discovery {
	d := &discovery{listing: engine.AccountListing{AccountID: id}}
	uses := map[string]int{}
	for _, w := range chosen {
		uses[w.Name]++
	}
	for _, w := range chosen {
		target := w.Target(t)
		if uses[w.Name] > 1 {
			target.Name = strings.TrimPrefix(w.Name+"-"+w.ID, "-")
		}
		target.Labels = a.LabelsOf(w)
		if a.WorkspaceProfile != "" {
			target.Profile = strings.NewReplacer("{name}", w.Name, "{id}", w.ID).Replace(a.WorkspaceProfile)
			target.Discovered = false
		}
		d.targets = append(d.targets, target)
		d.listing.Workspaces = append(d.listing.Workspaces, engine.ListedWorkspace{ID: w.ID, Name: target.Name, Status: w.Status})
	}
	return d
}

// note puts what the account listed into a capture, so that whoever judges it
// later knows what else there should be, and the labels that follow from it.
func (d *discovery) note(c *engine.Capture) error {
	if d == nil {
		return nil
	}
	section, err := d.listing.Section()
	if err != nil {
		return errors.Join(errors.New("note the account's workspaces"), err)
	}
	c.Sections[engine.SectionAccount] = section
	if d.directory != nil {
		if c.Sections[engine.SectionAccountPrincipals], err = d.directory.Section(*c); err != nil {
			return err
		}
	}
	for _, target := range d.targets {
		if target.WorkspaceID == c.Workspace.ID {
			c.Workspace.Labels = target.Labels
		}
	}
	return nil
}

// readDirectory begins to read the account's users and service principals,
// once for all workspaces.
func (d *discovery) readDirectory(ctx context.Context) {
	if d != nil && d.directory == nil {
		d.directory = d.account.ReadDirectory(ctx)
	}
}

// tellDirectory says what became of the account's directory. Workspaces are
// read and judged without it.
func (a *app) tellDirectory(d *discovery) {
	if d == nil || d.directory == nil {
		return
	}
	c := d.directory.Coverage()
	if c.Complete() {
		a.say("account principals: %d read", c.Count)
		return
	}
	a.say("warning: account principals: %s (%s) %s; verdicts do not rest on them", c.Status, c.Reason, c.Detail)
	if c.Hint != "" {
		a.say("  hint: %s", c.Hint)
	}
}
