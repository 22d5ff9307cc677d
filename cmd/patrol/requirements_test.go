package main

import (
	"testing"

	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/policy"
	"patrol/policies"
)

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
