package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/eval/sandbox"
	"patrol/engine/policy"
	"patrol/policies"
)

// builtinPack is how the policies that come with patrol are called.
const builtinPack = policy.BuiltIn

// policySet is the policies of a run and the configuration that tunes them.
type policySet struct {
	all      *eval.Set // every policy loaded
	chosen   *eval.Set // those that the flags select
	config   *config.File
	severity severityFlags // of the findings that were asked for

	exceptions exceptionFiles
}

// loadPolicies loads the built-in pack and those of --policy, checks the
// configuration against them, and applies the selection.
func (a *app) loadPolicies(ctx context.Context, o *judgeOptions) (*policySet, error) {
	packs := []policy.Pack{{Name: builtinPack, FS: policies.FS, Trusted: true}}
	for _, path := range o.packs {
		pack, err := openPack(path, o.packKey)
		if err != nil {
			return nil, err
		}
		packs = append(packs, pack)
	}
	command, err := newSandbox()
	if err != nil {
		return nil, err
	}
	all, err := loadPacks(ctx, command, packs)
	if err != nil {
		return nil, err
	}
	if err := o.severity.check(); err != nil {
		return nil, err
	}
	set := &policySet{all: all, config: a.config, severity: o.severity}
	if err := set.checkConfig(); err != nil {
		return nil, err
	}
	keep, err := set.selection(o)
	if err != nil {
		return nil, err
	}
	set.chosen = all.Select(keep).With(eval.Options{NoPrefilter: o.noPrefilter, Sandbox: command})
	set.exceptions, err = a.loadExceptions(all.Policies(), &o.except)
	return set, err
}

// keep is a set that judges workspace after workspace in one sandbox.
func (s *policySet) keep() (*policySet, func()) {
	kept := *s
	var leave func()
	kept.chosen, leave = s.chosen.Keep()
	return &kept, leave
}

// loadPacks loads packs, those of others in a sandbox first.
func loadPacks(ctx context.Context, command sandbox.Command, packs []policy.Pack) (*eval.Set, error) {
	if err := eval.TryLoad(ctx, command, packs...); err != nil {
		return nil, err
	}
	all, err := eval.Load(ctx, packs...)
	if err != nil {
		return nil, err
	}
	return all.With(eval.Options{Sandbox: command}), nil
}

// openPack opens a directory, or a bundle by the ending of its name.
func openPack(path, keyFile string) (policy.Pack, error) {
	isBundle := strings.HasSuffix(path, ".tar.gz")
	switch {
	case !isBundle && keyFile != "":
		return policy.Pack{}, engine.UsageError("load policies from", path, "Build a bundle of it by `opa build` and sign it by `opa sign`, or leave --policy-key out.",
			errors.New("a directory has no signature, and --policy-key asks for one"))
	case !isBundle:
		return policy.OpenDirectory(path)
	case keyFile == "":
		return policy.OpenBundle(path, nil)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return policy.Pack{}, engine.UsageError("read policy key", keyFile, "Name a public key in PEM with --policy-key.", err)
	}
	return policy.OpenBundle(path, key)
}

// selection turns the selecting flags into a test of policies. An id that no
// policy has is an error: a gate that silently checks nothing is worse than none.
func (s *policySet) selection(o *judgeOptions) (func(engine.Policy) bool, error) {
	all := s.all.Policies()
	for flag, ids := range map[string][]string{"--only": o.only, "--exclude": o.exclude} {
		for _, id := range ids {
			if !slices.ContainsFunc(all, func(p engine.Policy) bool { return named(p, id) }) {
				return nil, engine.UsageError("read flag", flag, "See `patrol policies list` for the ids.", fmt.Errorf("no policy has the id or alias %q: %s", id, engine.DidYouMean(id, s.ids())))
			}
		}
	}
	framework, control, _ := strings.Cut(o.framework, ":")
	if err := knownFramework(all, framework, control); err != nil {
		return nil, err
	}
	keep := func(p engine.Policy) bool {
		return (len(o.only) == 0 || namedIn(p, o.only)) && !namedIn(p, o.exclude) &&
			slices.ContainsFunc(s.grades(p), s.severity.wants) &&
			(o.framework == "" || serves(p, framework, control))
	}
	if !slices.ContainsFunc(all, keep) {
		return nil, engine.UsageError("select policies", "", "Widen --only, --exclude, --severity, --min-severity or --framework.", fmt.Errorf("no policy is left"))
	}
	return keep, nil
}

// grades are the severities that a policy has in some workspace: its own, or
// the configuration's, and those of overrides.
func (s *policySet) grades(p engine.Policy) []engine.Severity {
	everywhere, _ := tuningOf(p, s.config.Policies)
	all := []engine.Severity{cmp.Or(everywhere.Severity, p.Severity)}
	for _, override := range s.config.Overrides {
		there, _ := tuningOf(p, override.Policies)
		all = append(all, cmp.Or(there.Severity, all[0]))
	}
	return all
}

// tuningOf is what tunings change of a policy, and the id or alias under which
// they name it; "" where they change nothing. Later names win.
func tuningOf(p engine.Policy, tunings map[string]config.Tuning) (t config.Tuning, as string) {
	for _, id := range engine.SortedKeys(tunings) {
		if named(p, id) {
			t, as = tunings[id], id
		}
	}
	return t, as
}

// knownFramework refuses a framework or control that no policy serves.
func knownFramework(all []engine.Policy, framework, control string) error {
	if framework == "" || slices.ContainsFunc(all, func(p engine.Policy) bool { return serves(p, framework, control) }) {
		return nil
	}
	known := map[string]bool{}
	for _, p := range all {
		for name, controls := range p.Controls {
			if name != framework {
				known[name] = true
				continue
			}
			for _, c := range controls {
				known[name+":"+c] = true
			}
		}
	}
	names := engine.SortedKeys(known)
	if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, framework+":") }) {
		names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, framework+":") })
	}
	return engine.UsageError("read flag", "--framework", "Use one of "+strings.Join(names, ", ")+".",
		fmt.Errorf("no policy serves %q", strings.TrimSuffix(framework+":"+control, ":")))
}

func namedIn(p engine.Policy, ids []string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return named(p, id) })
}

func named(p engine.Policy, id string) bool {
	id = strings.TrimSpace(id)
	return strings.EqualFold(p.ID, id) || slices.ContainsFunc(p.Aliases, func(alias string) bool { return strings.EqualFold(alias, id) })
}

func serves(p engine.Policy, framework, control string) bool {
	controls, ok := p.Controls[framework]
	return ok && (control == "" || slices.Contains(controls, control))
}

// checkConfig holds the policies named in the configuration against those that exist.
func (s *policySet) checkConfig() error {
	if err := s.checkTunings("policies", s.config.Policies); err != nil {
		return err
	}
	for i, override := range s.config.Overrides {
		if err := s.checkTunings(fmt.Sprintf("overrides[%d].policies", i), override.Policies); err != nil {
			return err
		}
	}
	_, err := s.config.Plan(s.policy)
	return err
}

func (s *policySet) checkTunings(key string, tunings map[string]config.Tuning) error {
	names := map[string]string{} // policy id → as the file names it
	for _, id := range engine.SortedKeys(tunings) {
		key := key + "." + id
		if _, ok := s.policy(id); !ok {
			return s.config.Errorf(key, "policy %q does not exist: %s", id, engine.DidYouMean(id, s.ids()))
		}
		for _, p := range s.every() { // an alias may be that of several
			if !named(p, id) {
				continue
			}
			if other, twice := names[p.ID]; twice {
				return s.config.Errorf(key, "%s and %s are one policy: put what changes it under one of them", other, id)
			}
			names[p.ID] = id
			for _, name := range engine.SortedKeys(tunings[id].Params) {
				one := map[string]policy.Tuning{p.ID: {Params: map[string]any{name: tunings[id].Params[name]}}}
				if err := s.all.CheckTuning(one); err != nil {
					return s.config.Errorf(key+".params."+name, "%w", rootCause(err))
				}
			}
		}
	}
	return nil
}

func (s *policySet) ids() []string {
	var ids []string
	for _, p := range s.every() {
		ids = append(ids, p.ID)
	}
	return ids
}

// rootCause is the cause that an Error carries, without its operation and target.
func rootCause(err error) error {
	if known, ok := engine.AsError(err); ok && known.Err != nil {
		return known.Err
	}
	return err
}

// every lists all policies, those over waivers last.
func (s *policySet) every() []engine.Policy {
	return slices.Concat(s.all.Policies(), s.all.WaiverPolicies())
}

func (s *policySet) policy(id string) (engine.Policy, bool) {
	for _, p := range s.every() {
		if named(p, id) {
			return p, true
		}
	}
	return engine.Policy{}, false
}

// effective is the tuning that a workspace is judged by. A policy whose
// severity there is below what was asked for does not judge it.
func (s *policySet) effective(w engine.Workspace) map[string]policy.Tuning {
	tunings := s.tuned(w)
	for _, p := range s.all.Policies() {
		if t := tunings[p.ID]; !s.severity.wants(cmp.Or(t.Severity, p.Severity)) {
			t.Disabled = true
			tunings[p.ID] = t
		}
	}
	return tunings
}

// tuned is the tuning in force for a workspace: the configuration of the
// policy, then each override that matches, in the order of the file.
func (s *policySet) tuned(w engine.Workspace) map[string]policy.Tuning {
	tunings := map[string]policy.Tuning{}
	s.apply(tunings, s.config.Policies)
	for _, override := range s.config.Overrides {
		if override.Match.Matches(w) {
			s.apply(tunings, override.Policies)
		}
	}
	if w.Cloud != "azure" {
		return tunings
	}
	for _, p := range s.all.Policies() { // the name of an Azure tag is one name in any letter case
		i := slices.IndexFunc(p.Params, func(param engine.Param) bool { return param.Name == "label" })
		if i < 0 {
			continue
		}
		t := tunings[p.ID]
		named, isText := cmp.Or(t.Params["label"], p.Params[i].Value).(string)
		if as, set := config.LabelIn(w.Labels, named); isText && set && as != named {
			t.Params = maps.Clone(t.Params)
			if t.Params == nil {
				t.Params = map[string]any{}
			}
			t.Params["label"] = as
			tunings[p.ID] = t
		}
	}
	return tunings
}

func (s *policySet) apply(tunings map[string]policy.Tuning, from map[string]config.Tuning) {
	for _, p := range s.every() {
		change, as := tuningOf(p, from)
		if as == "" {
			continue
		}
		t := tunings[p.ID]
		if change.Enabled != nil {
			t.Disabled = !*change.Enabled
		}
		t.Severity = cmp.Or(change.Severity, t.Severity)
		params := map[string]any{}
		maps.Copy(params, t.Params)
		maps.Copy(params, change.Params)
		t.Params = params
		tunings[p.ID] = t
	}
}
