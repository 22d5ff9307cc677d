package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/remedy"

	"github.com/spf13/pflag"
)

// selection chooses steps of a plan. plan, show and approve share it.
type selection struct {
	workspaces, labels, owners, policies, risks, severities, actions []string
	limit                                                            int
}

// addFlags adds the flags but --policy, which means more in `plan`. They count on
// the command line only: elsewhere they choose what is judged, and nothing but a
// command line approves anything.
func (s *selection) addFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&s.workspaces, "workspace", nil, "steps in workspaces whose name or id matches one of these `patterns`")
	flags.StringSliceVar(&s.labels, "label", nil, "steps in workspaces with all of these labels: `name=pattern`")
	flags.StringSliceVar(&s.owners, "owner", nil, "steps on tokens whose owner's name or id matches one of these `patterns`")
	flags.StringSliceVar(&s.risks, "risk", nil, "steps of these `risks`: low, medium, high")
	flags.StringSliceVar(&s.severities, "severity", nil, "steps whose worst finding has one of these `severities`: critical, high, medium, low, info")
	flags.StringSliceVar(&s.actions, "action", nil, "steps of these `actions`: "+strings.Join(actionWords(), ", "))
	flags.IntVar(&s.limit, "limit", 0, "the riskiest `number` of them (0: all)")
	for _, name := range []string{"workspace", "label", "owner", "risk", "severity", "action", "limit"} {
		config.CommandLineOnly(flags, name)
	}
}

func (s *selection) addPolicies(flags *pflag.FlagSet) {
	flags.StringSliceVar(&s.policies, "policy", nil, "steps that rest on one of these policies: `ids` or patterns such as PAT-01*")
	config.CommandLineOnly(flags, "policy")
}

func actionWords() []string {
	var words []string
	for _, action := range remedy.Names() {
		words = append(words, string(action))
	}
	return words
}

// given reports whether anything but a number is asked for.
func (s *selection) given() bool {
	return len(s.workspaces)+len(s.labels)+len(s.owners)+len(s.policies)+len(s.risks)+len(s.severities)+len(s.actions) > 0
}

// check refuses words that name nothing.
func (s *selection) check() error {
	for _, list := range []struct {
		flag  string
		words []string
		known []string
	}{
		{"--risk", s.risks, []string{"low", "medium", "high"}},
		{"--severity", s.severities, []string{"critical", "high", "medium", "low", "info"}},
		{"--action", s.actions, actionWords()},
	} {
		for i, word := range list.words {
			list.words[i] = strings.ToLower(strings.TrimSpace(word))
			if err := checkWord(list.flag, cmp.Or(list.words[i], "nothing"), list.known...); err != nil {
				return err
			}
		}
	}
	return checkList(s.labels, s.limit)
}

// workspace reports whether steps in a workspace are chosen.
func (s *selection) workspace(w engine.Workspace) bool {
	return anyGlob(s.workspaces, w.Name, w.ID) && hasLabels(w, s.labels)
}

// step reports whether a step is chosen; placed says that its workspace and its
// policies are, of which then only this command knows enough.
func (s *selection) step(step engine.Step, w engine.Workspace, placed bool) bool {
	among := func(words []string, word string) bool { return len(words) == 0 || slices.Contains(words, word) }
	return (placed || s.workspace(w) && anyGlob(s.policies, step.Policies...)) &&
		anyGlob(s.owners, step.Owner, step.OwnerID, step.OwnerName) && among(s.risks, step.Risk.Level) &&
		among(s.severities, string(step.Severity)) && among(s.actions, string(step.Action))
}

// of is a plan with the chosen steps only, the riskiest first where there is a
// limit, and how many there are without that.
func (s *selection) of(p engine.Plan) (chosen []engine.Step, all int) {
	workspaces := map[string]engine.Workspace{}
	for _, w := range p.Workspaces {
		workspaces[w.ID] = engine.Workspace{ID: w.ID, Name: w.Name, Labels: w.Labels}
	}
	for _, step := range p.Steps {
		if s.step(step, workspaces[step.WorkspaceID], false) {
			chosen = append(chosen, step)
		}
	}
	all = len(chosen)
	if s.limit > 0 && s.limit < all {
		slices.SortStableFunc(chosen, func(a, b engine.Step) int { return cmp.Compare(remedy.Danger(b), remedy.Danger(a)) })
		chosen = chosen[:s.limit]
	}
	return chosen, all
}

// anyGlob reports whether any of some texts matches any of some patterns; no
// pattern matches all.
func anyGlob(patterns []string, texts ...string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(pattern string) bool {
		glob := engine.NewGlob(strings.TrimSpace(pattern))
		return slices.ContainsFunc(texts, func(text string) bool { return text != "" && glob.Matches(strings.ToLower(text)) })
	})
}

// splitPolicies tells directories and bundles from ids and patterns of policies.
func splitPolicies(values []string) (packs, policies []string) {
	for _, value := range values {
		_, err := os.Stat(value)
		if err == nil || strings.ContainsAny(value, `/\.`) {
			packs = append(packs, value)
		} else {
			policies = append(policies, strings.Split(value, ",")...)
		}
	}
	return packs, policies
}

// knownPolicies refuses ids and patterns that no policy of an evaluation matches.
func knownPolicies(report engine.Report, patterns []string) error {
	var known []string
	for _, p := range report.Policies {
		known = append(append(known, p.Policy.ID), p.Policy.Aliases...)
	}
	for _, pattern := range patterns {
		if !anyGlob([]string{pattern}, known...) {
			return engine.UsageError("read flag", "--policy", "Name a directory, a bundle, or policies that the evaluation ran.",
				fmt.Errorf("%q is neither a directory nor a policy of the evaluation: %s", pattern, engine.DidYouMean(pattern, known)))
		}
	}
	return nil
}
