package main

import (
	"testing"

	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/policy"
	"patrol/policies"

	"github.com/spf13/cobra"
)

// A pack must be signed wherever it is read: a command that loads packs and did
// not know the key would take one that others refuse.
func TestPacksAreVerifiedEverywhere(t *testing.T) {
	t.Parallel()
	a := newApp(systemEnv())
	loads := 0
	everyCommand(a.root(), func(cmd *cobra.Command) {
		packs := cmd.Flags().Lookup("policy")
		if packs == nil || packs.Value.Type() != "stringArray" { // `policies new` writes one
			return
		}
		loads++
		if cmd.Flags().Lookup("policy-key") == nil {
			t.Errorf("%s loads packs without --policy-key", cmd.CommandPath())
		}
	})
	if loads < 10 {
		t.Errorf("only %d commands load packs", loads)
	}
}

// TestEveryControlIsExplained: an auditor reads what a control asks for in our
// words.
func TestEveryControlIsExplained(t *testing.T) {
	t.Parallel()
	set, err := eval.Load(t.Context(), policy.Pack{Name: policy.BuiltIn, FS: policies.FS})
	must(t, err)
	for _, p := range set.Policies() {
		for framework, controls := range p.Controls {
			if engine.FrameworkTitle(framework) == framework {
				t.Errorf("%s: framework %s has no title", p.ID, framework)
			}
			for _, control := range controls {
				if engine.Requirement(framework, control) == "" {
					t.Errorf("%s: %s %s has no text in our words", p.ID, framework, control)
				}
			}
		}
	}
}
