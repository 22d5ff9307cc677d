package eval

import (
	"encoding/json"
	"maps"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// TestNoVerdictRestsOnTheAccount: what the account knows of missing owners gives
// them a name in findings, and changes no result, no message and nothing that
// exceptions look at, whatever the policy.
func TestNoVerdictRestsOnTheAccount(t *testing.T) {
	t.Parallel()
	set := oddSet(t)
	subjects := awkward(enginetest.Seed(t), corpusSize(), true)
	without, tallies := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(subjects...)})

	snapshot := covered(func(s *engine.Snapshot) {
		s.Coverage[engine.SectionAccountPrincipals] = engine.Coverage{Status: engine.Complete}
		s.Documents[engine.SectionAccountPrincipals] = json.RawMessage(`{"account_id":"x","principals":[]}`)
	})
	known := 0
	for i := range subjects {
		for _, party := range []*engine.Party{&subjects[i].Owner, &subjects[i].Creator} {
			if party.Kind == engine.Missing {
				known++
				party.Account = &engine.AccountParty{Status: engine.AccountActive, Kind: engine.User, Name: "moved.on@example.com"}
			}
		}
	}
	seen := map[string]int{}
	with, withTallies := evaluate(t, set, Job{Snapshot: snapshot, Tokens: rows(subjects...), Except: func(f engine.Finding) engine.Finding {
		seen[f.Owner]++
		return f
	}})
	equal(t, withTallies, tallies)
	named := 0
	for i, f := range with {
		if f.Owner == "moved.on@example.com" {
			named++
			equal(t, f.Evidence["owner.account_status"], any("active"))
			f.Owner, f.Evidence = without[i].Owner, maps.Clone(f.Evidence)
			delete(f.Evidence, "owner.account_status")
			delete(f.Evidence, "owner.account_name")
		}
		equal(t, f, without[i])
	}
	if known == 0 || named == 0 || seen["moved.on@example.com"] > 0 {
		t.Errorf("%d missing, %d findings named, exceptions saw the name %d times", known, named, seen["moved.on@example.com"])
	}
}
