package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/eval/sandbox"
	"patrol/engine/policy"
	"patrol/policies"
)

// Judging says which policies judge, as of when, and what an evaluation of them
// is called.
type Judging struct {
	Packs     []string // directories and bundles beside the built-in policies
	PackKey   string   // file of the public key that bundles must be signed by
	Only      []string // ids or aliases
	Exclude   []string
	Severity  Severities
	Framework string // or framework:control

	AsOf        time.Time // zero: when the newest snapshot was taken
	WhatIf      string    // name of an evaluation that says what would be
	FailOn      engine.Threshold
	MinCoverage int // percentage of the expected workspaces that must be read
	NoPrefilter bool
	Exceptions  ExceptionPaths
}

// Severities choose by severity: any of some, or one and what is worse.
type Severities struct {
	Any   []string
	Least engine.Severity
}

// Given reports whether anything was chosen.
func (s *Severities) Given() bool { return len(s.Any) > 0 || s.Least != "" }

// Wants reports whether a severity is chosen.
func (s *Severities) Wants(severity engine.Severity) bool {
	return (len(s.Any) == 0 || slices.Contains(s.Any, string(severity))) && (s.Least == "" || severity.AtLeast(s.Least))
}

// Check refuses words that name no severity, and writes the others as they are.
func (s *Severities) Check() error {
	for i, word := range s.Any {
		severity, err := engine.ParseSeverity(word)
		if err != nil {
			return engine.UsageError("read flag", "--severity", "Give any of "+strings.Join(severity.Words(), ", ")+".", err)
		}
		s.Any[i] = string(severity)
	}
	return nil
}

// Everything is the coverage wanted by default: no workspace may be missing.
const Everything = 100

// Narrowed reports whether some policies were left out by request.
func (j *Judging) Narrowed() bool {
	return len(j.Only)+len(j.Exclude) > 0 || j.Severity.Given() || j.Framework != ""
}

// Policies are the policies of a run and the configuration that tunes them.
type Policies struct {
	All        *eval.Set // every policy loaded
	Chosen     *eval.Set // those that the options select
	Exceptions Exceptions

	config   *config.File
	severity Severities // of the findings that were asked for
}

// SandboxCommand is the command by which patrol calls itself to judge policies
// of others.
const SandboxCommand = "__sandbox"

// LoadPolicies loads the built-in pack and those of the options, checks the
// configuration against them, applies the selection, and reads waivers and
// baseline.
func (r *Run) LoadPolicies(ctx context.Context, o *Judging) (*Policies, error) {
	packs := []policy.Pack{{Name: policy.BuiltIn, FS: policies.FS, Trusted: true}}
	for _, path := range o.Packs {
		pack, err := openPack(path, o.PackKey)
		if err != nil {
			return nil, err
		}
		packs = append(packs, pack)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, &engine.Error{Class: engine.ClassStorage, Reason: "sandbox", Op: "find", Target: "patrol's own program file",
			Hint: "Policies of --policy are judged in a process of its own, for which patrol starts itself.", Err: err}
	}
	command := sandbox.Command(func() *exec.Cmd { return &exec.Cmd{Path: program, Args: []string{"patrol", SandboxCommand}} })
	if err := eval.TryLoad(ctx, command, packs...); err != nil { // those of others in a sandbox first
		return nil, err
	}
	all, err := eval.Load(ctx, packs...)
	if err != nil {
		return nil, err
	}
	if err := o.Severity.Check(); err != nil {
		return nil, err
	}
	p := &Policies{All: all.With(eval.Options{Sandbox: command}), config: r.Config, severity: o.Severity}
	if err := p.checkTunings("policies", r.Config.Policies); err != nil {
		return nil, err
	}
	for i, override := range r.Config.Overrides {
		if err := p.checkTunings(fmt.Sprintf("overrides[%d].policies", i), override.Policies); err != nil {
			return nil, err
		}
	}
	if _, err := r.Config.Plan(p.Policy); err != nil {
		return nil, err
	}
	keep, err := p.selection(o)
	if err != nil {
		return nil, err
	}
	p.Chosen = p.All.Select(keep).With(eval.Options{NoPrefilter: o.NoPrefilter, Sandbox: command})
	p.Exceptions, err = o.Exceptions.read(all.Policies())
	return p, err
}

// openPack opens a directory, or a bundle by the ending of its name.
func openPack(path, keyFile string) (policy.Pack, error) {
	if !strings.HasSuffix(path, ".tar.gz") {
		if keyFile == "" {
			return policy.OpenDirectory(path)
		}
		return policy.Pack{}, engine.UsageError("load policies from", path, "Build a bundle of it by `opa build` and sign it by `opa sign`, or leave --policy-key out.",
			errors.New("a directory has no signature, and --policy-key asks for one"))
	}
	var key []byte
	if keyFile != "" {
		var err error
		if key, err = os.ReadFile(keyFile); err != nil {
			return policy.Pack{}, engine.UsageError("read policy key", keyFile, "Name a public key in PEM with --policy-key.", err)
		}
	}
	return policy.OpenBundle(path, key)
}

// checkTunings holds the policies named in the configuration against those that
// exist; key is where the tunings stand.
func (p *Policies) checkTunings(key string, tunings map[string]config.Tuning) error {
	names := map[string]string{} // policy id → as the file names it
	for _, id := range engine.SortedKeys(tunings) {
		key := key + "." + id
		if _, ok := p.Policy(id); !ok {
			return p.config.Errorf(key, "policy %q does not exist: %s", id, engine.DidYouMean(id, p.ids()))
		}
		for _, one := range p.Every() { // an alias may be that of several
			if !Named(one, id) {
				continue
			}
			if other, twice := names[one.ID]; twice {
				return p.config.Errorf(key, "%s and %s are one policy: put what changes it under one of them", other, id)
			}
			names[one.ID] = id
			for _, name := range engine.SortedKeys(tunings[id].Params) {
				change := map[string]policy.Tuning{one.ID: {Params: map[string]any{name: tunings[id].Params[name]}}}
				err := p.All.CheckTuning(change)
				if known, ok := engine.AsError(err); ok && known.Err != nil {
					err = known.Err // without its operation and target
				}
				if err != nil {
					return p.config.Errorf(key+".params."+name, "%w", err)
				}
			}
		}
	}
	return nil
}

// selection turns the selecting options into a test of policies. An id that no
// policy has is an error: a gate that silently checks nothing is worse than none.
func (p *Policies) selection(o *Judging) (func(engine.Policy) bool, error) {
	all := p.All.Policies()
	for flag, ids := range map[string][]string{"--only": o.Only, "--exclude": o.Exclude} {
		for _, id := range ids {
			if !slices.ContainsFunc(all, func(p engine.Policy) bool { return Named(p, id) }) {
				return nil, engine.UsageError("read flag", flag, "See `patrol policies list` for the ids.", fmt.Errorf("no policy has the id or alias %q: %s", id, engine.DidYouMean(id, p.ids())))
			}
		}
	}
	framework, control, _ := strings.Cut(o.Framework, ":")
	serves := func(p engine.Policy) bool { return o.Framework == "" || Serves(p, framework, control) }
	if !slices.ContainsFunc(all, serves) {
		names, ofFramework := map[string]bool{}, map[string]bool{} // frameworks; controls of the one that was named
		for _, p := range all {
			for name := range p.Controls {
				names[name] = true
			}
			for _, c := range p.Controls[framework] {
				ofFramework[framework+":"+c] = true
			}
		}
		known := engine.SortedKeys(names)
		if len(ofFramework) > 0 {
			known = engine.SortedKeys(ofFramework)
		}
		return nil, engine.UsageError("read flag", "--framework", "Use one of "+strings.Join(known, ", ")+".",
			fmt.Errorf("no policy serves %q", strings.TrimSuffix(framework+":"+control, ":")))
	}
	keep := func(policy engine.Policy) bool {
		// Its severities: its own, or the configuration's, and those of overrides.
		everywhere, _ := tuningOf(policy, p.config.Policies)
		severities := []engine.Severity{cmp.Or(everywhere.Severity, policy.Severity)}
		for _, override := range p.config.Overrides {
			there, _ := tuningOf(policy, override.Policies)
			severities = append(severities, cmp.Or(there.Severity, severities[0]))
		}
		return Selects(o.Only, o.Exclude, policy) && slices.ContainsFunc(severities, p.severity.Wants) && serves(policy)
	}
	if !slices.ContainsFunc(all, keep) {
		return nil, engine.UsageError("select policies", "", "Widen --only, --exclude, --severity, --min-severity or --framework.", errors.New("no policy is left"))
	}
	return keep, nil
}

// tuningOf is what tunings change of a policy, and the id or alias under which
// they name it; "" where they change nothing. Later names win.
func tuningOf(p engine.Policy, tunings map[string]config.Tuning) (t config.Tuning, as string) {
	for _, id := range engine.SortedKeys(tunings) {
		if Named(p, id) {
			t, as = tunings[id], id
		}
	}
	return t, as
}

// Selects reports whether --only and --exclude leave a policy in.
func Selects(only, exclude []string, p engine.Policy) bool {
	in := func(ids []string) bool {
		return slices.ContainsFunc(ids, func(id string) bool { return Named(p, id) })
	}
	return (len(only) == 0 || in(only)) && !in(exclude)
}

// Named reports whether a text is the id or an alias of a policy, in any letter case.
func Named(p engine.Policy, id string) bool {
	id = strings.TrimSpace(id)
	return strings.EqualFold(p.ID, id) || slices.ContainsFunc(p.Aliases, func(alias string) bool { return strings.EqualFold(alias, id) })
}

// Serves reports whether a policy serves a framework, or one control of it.
func Serves(p engine.Policy, framework, control string) bool {
	controls, ok := p.Controls[framework]
	return ok && (control == "" || slices.Contains(controls, control))
}

// Every lists all policies, those over waivers last.
func (p *Policies) Every() []engine.Policy {
	return slices.Concat(p.All.Policies(), p.All.WaiverPolicies())
}

func (p *Policies) ids() []string {
	var ids []string
	for _, policy := range p.Every() {
		ids = append(ids, policy.ID)
	}
	return ids
}

// Policy finds a policy by its id or an alias.
func (p *Policies) Policy(id string) (engine.Policy, bool) {
	for _, policy := range p.Every() {
		if Named(policy, id) {
			return policy, true
		}
	}
	return engine.Policy{}, false
}

// Effective is the tuning that a workspace is judged by, by policy: the
// configuration of the policy, then each override that matches, in the order of
// the file. A policy whose severity there is below what was asked for does not
// judge it.
func (p *Policies) Effective(w engine.Workspace) map[string]policy.Tuning {
	sources := []map[string]config.Tuning{p.config.Policies}
	for _, override := range p.config.Overrides {
		if override.Match.Matches(w) {
			sources = append(sources, override.Policies)
		}
	}
	tunings := map[string]policy.Tuning{}
	for _, one := range p.Every() {
		t, changed := policy.Tuning{Params: map[string]any{}}, false
		for _, source := range sources {
			change, as := tuningOf(one, source)
			if change.Enabled != nil {
				t.Disabled = !*change.Enabled
			}
			t.Severity = cmp.Or(change.Severity, t.Severity)
			maps.Copy(t.Params, change.Params)
			changed = changed || as != ""
		}
		i := slices.IndexFunc(one.Params, func(param engine.Param) bool { return param.Name == "label" })
		if i >= 0 { // what a workspace is for does not hang on a letter's case; overrides match labels so, too
			named, isText := cmp.Or(t.Params["label"], one.Params[i].Value).(string)
			if as, set := config.LabelIn(w.Labels, named); isText && set && as != named {
				t.Params["label"], changed = as, true
			}
		}
		if one.Resource != engine.ResourceWaiver && !p.severity.Wants(cmp.Or(t.Severity, one.Severity)) {
			t.Disabled, changed = true, true
		}
		if changed {
			tunings[one.ID] = t
		}
	}
	return tunings
}

// Retuning is what the configuration changes about policies in each workspace of
// a report.
func (p *Policies) Retuning(report engine.Report) engine.Retuning {
	tunings := engine.Retuning{}
	for _, w := range report.Workspaces {
		byPolicy := map[string]engine.PolicyTuning{}
		for id, t := range p.Effective(w.Snapshot.Workspace) {
			byPolicy[id] = engine.PolicyTuning{Severity: t.Severity, Params: t.Params}
		}
		tunings[w.Snapshot.Workspace.ID] = byPolicy
	}
	return tunings
}

// InForce are policies as the configuration has them judge these workspaces,
// with the place that each value comes from.
func (p *Policies) InForce(list []engine.Policy, snapshots ...engine.Snapshot) []engine.Policy {
	list = slices.Clone(list)
	for i := range list {
		policy := &list[i]
		tuning, as := tuningOf(*policy, p.config.Policies)
		key := "policies." + as
		if tuning.Severity != "" {
			policy.SetSeverity, policy.OwnSeverity, policy.Severity = p.config.Place(key+".severity"), policy.Severity, tuning.Severity
		}
		if tuning.Enabled != nil && !*tuning.Enabled {
			policy.Off = p.config.Place(key + ".enabled")
		}
		policy.Params = slices.Clone(policy.Params)
		for n := range policy.Params {
			param := &policy.Params[n]
			param.Value, param.Origin = param.Default, "default"
			if value, set := tuning.Params[param.Name]; set {
				param.Value, param.Origin = value, p.config.Place(key+".params."+param.Name)
			}
		}
		policy.Overrides = p.overridesOf(*policy, snapshots)
	}
	return list
}

// overridesOf are the overrides of a policy, each with those of the workspaces
// that it matches.
func (p *Policies) overridesOf(policy engine.Policy, snapshots []engine.Snapshot) (list []engine.Override) {
	for n, override := range p.config.Overrides {
		change, as := tuningOf(policy, override.Policies)
		matching := []string{}
		for _, snapshot := range snapshots {
			if override.Match.Matches(snapshot.Workspace) {
				matching = append(matching, snapshot.Workspace.ID)
			}
		}
		add := func(key string, value any) {
			place := p.config.Place(fmt.Sprintf("overrides[%d].policies.%s.%s", n, as, key))
			list = append(list, engine.Override{Match: override.Match.String(), Place: p.config.Place(fmt.Sprintf("overrides[%d]", n)), Workspaces: matching, Key: key, Value: value, Origin: place})
		}
		if change.Enabled != nil {
			add("enabled", *change.Enabled)
		}
		if change.Severity != "" {
			add("severity", string(change.Severity))
		}
		for _, name := range engine.SortedKeys(change.Params) {
			add("params."+name, change.Params[name])
		}
	}
	return list
}
