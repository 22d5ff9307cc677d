package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"patrol/cmd/internal/config"
	"patrol/collectors"
	"patrol/engine"
)

// targets are the workspaces of this run, or of its shard.
func (a *app) targets(o *sourceOptions) []collectors.Target { return o.shard.of(a.allTargets(o)) }

// allTargets are the flags' workspaces, else those that the account listed,
// else the configuration's, else the one that the Databricks environment
// variables and the default profile describe.
func (a *app) allTargets(o *sourceOptions) []collectors.Target {
	var targets []collectors.Target
	for _, profile := range o.profiles {
		targets = append(targets, workspaceTarget(a.configured(profile), o))
	}
	if len(targets) > 0 {
		return targets
	}
	if o.found != nil {
		return o.found.targets
	}
	for _, w := range a.config.Workspaces {
		targets = append(targets, workspaceTarget(w, o))
	}
	if len(targets) > 0 {
		return targets
	}
	return []collectors.Target{workspaceTarget(config.Workspace{}, o)}
}

// configured is what the configuration knows of a profile; at least its name.
func (a *app) configured(profile string) config.Workspace {
	for _, w := range a.config.Workspaces {
		if w.Profile == profile {
			return w
		}
	}
	return config.Workspace{Profile: profile}
}

func workspaceTarget(w config.Workspace, o *sourceOptions) collectors.Target {
	t := collectors.Target{Name: w.Name, Profile: w.Profile, Host: w.Host, Labels: w.Labels, ConfigFile: o.configFile}
	if o.request.usageText == "" && o.request.logPath == "" && o.request.changesPath == "" {
		if t.Usage = w.Usage.Reader(nil); t.Usage != nil {
			t.Usage.ConfigFile = o.configFile
		}
	}
	return t
}

// checkSources finds what is wrongly asked for before anything is done.
func (a *app) checkSources(ctx context.Context, o *sourceOptions) error {
	if o.parallel < 1 {
		return engine.UsageError("read flag", "--parallel", "Use 1 to read one workspace after the other.", fmt.Errorf("%d is less than 1", o.parallel))
	}
	if err := o.request.resolve(ctx); err != nil {
		return err
	}
	if err := a.resolveUsage(o); err != nil {
		return err
	}
	if len(o.from) == 0 {
		return a.checkTargets(ctx, o)
	}
	if o.account != "" {
		return engine.UsageError("read flags", "--from and --account", "Use one of them: a file or an account.", errors.New("cannot be combined"))
	}
	if len(o.profiles) > 0 {
		return engine.UsageError("read flags", "--from and --profile", "Use one of them: a file or a workspace.", errors.New("cannot be combined"))
	}
	for _, path := range o.from {
		if path == "-" {
			continue // standard input
		}
		if _, err := os.Stat(path); err != nil {
			return engine.UsageError("import", path, "Give a file with a token list.", err)
		}
	}
	return nil
}

func (a *app) checkTargets(ctx context.Context, o *sourceOptions) error {
	if o.account != "" && len(o.profiles) > 0 {
		return engine.UsageError("read flags", "--account and --profile", "Use one of them.", errors.New("cannot be combined"))
	}
	if err := a.discover(ctx, o); err != nil {
		return err
	}
	targets := a.targets(o)
	for i, target := range targets {
		same := func(other collectors.Target) bool {
			return other.Profile == target.Profile && other.Host == target.Host && other.WorkspaceID == target.WorkspaceID
		}
		if slices.ContainsFunc(targets[:i], same) {
			return engine.UsageError("read", target.Label(), "Name each workspace once.", errors.New("is asked for twice"))
		}
	}
	return collectors.Check(ctx, targets, a.collectOptions(o))
}

// notTwice refuses a workspace that was just read under another name: its
// findings would count twice.
func notTwice(read []engine.Snapshot, w engine.Workspace) error {
	for _, s := range read {
		if s.Workspace.ID == w.ID {
			return engine.UsageError("read", w.Name, "Name each workspace once; give imported files different names.",
				fmt.Errorf("is the workspace %s that was read as %s", w.ID, s.Workspace.Name))
		}
	}
	return nil
}
