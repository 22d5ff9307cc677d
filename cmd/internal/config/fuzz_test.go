package config

import (
	"os"
	"path/filepath"
	"testing"

	"patrol/engine"
)

// FuzzConfig: a configuration is read, or refused with a usage error; never a panic.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"", "fail-on: high\n", "workspaces:\n  - name: a\n    profile: b\n    labels: {x: y}\n", "policies:\n  PAT-001: {severity: low, params: {a: 1}}\n",
		"overrides:\n  - match: {name: \"*\"}\n    policies: {PAT-001: off}\n", "remediation:\n  limits: {steps: 0, percent: 1e400}\n", "a: &a [*a]\n", "? [a]\n: b\n",
		"workspaces: [1, null, {}]\n", "approval: {required: -1}\n", "---\n---\na: 1\n", "\xff\xfe", "notices:\n  mail: {}\n", "account: {}\n",
		"account:\n  profile: a\n  azure: {subscriptions: [00000000-0000-4000-8000-000000000001], tenant: a.example.com}\n  include: &i {names: [\"p*\"]}\n  exclude: *i\n",
		"account: &a\n  account_id: b\n  cloud: azure\n  labels: {x: \"tag:y\", z: !!str 1}\n", "account: {azure: , profile: x}\n", "account: {<<: {profile: a}}\n",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "patrol.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, true, Flags{"fail-on": false}); err != nil {
			if e, ok := engine.AsError(err); !ok || e.Class != engine.ClassUsage {
				t.Fatalf("%T: %v", err, err)
			}
		}
	})
}
