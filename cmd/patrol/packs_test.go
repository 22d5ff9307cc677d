package main

import (
	"testing"

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
