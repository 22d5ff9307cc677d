package policy

import (
	"slices"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// reads of a policy, from its text: needs, facts and weak facts.
func TestReads(t *testing.T) {
	t.Parallel()
	const library = `package patrol.lib.l

old if input.token.age_days > 90

person(p) if p.kind == "user"

default active := false

active if input.owner.active

idle := "long" if input.token.idle_days > 90

else := "short"

names contains name if some name in input.owner.groups
`
	wholeToken := enginetest.FieldNames("")
	party := func(prefix string) (names []string) {
		for _, name := range enginetest.FieldNames(prefix) {
			names = append(names, prefix+name)
		}
		slices.Sort(names)
		return names
	}
	for name, c := range map[string]struct {
		resource, custom, body string
		needs, facts, weak     []string
	}{
		"a field":              {body: `deny contains "x" if input.token.age_days > 1`, needs: []string{"tokens"}, facts: []string{"age_days"}},
		"in the message":       {body: `deny contains m if m := sprintf("%v", [input.token.idle_days])`, needs: []string{"tokens"}, facts: []string{"idle_days"}},
		"in the details":       {body: `deny contains {"msg": "x", "on": input.token.owner_id} if input.token.used`, needs: []string{"tokens"}, facts: []string{"owner_id", "used"}},
		"through a variable":   {body: "deny contains \"x\" if {\n\tk := input.token\n\tk.age_days > 1\n}", needs: []string{"tokens"}, facts: []string{"age_days"}, weak: []string{"age_days"}},
		"in a comprehension":   {body: `deny contains "x" if count([1 | input.token.used]) == 0`, needs: []string{"tokens"}, facts: []string{"used"}, weak: []string{"used"}},
		"under every":          {body: `deny contains "x" if every s in input.token.scopes { s != input.token.comment }`, needs: []string{"tokens"}, facts: []string{"comment", "scopes"}, weak: []string{"comment"}},
		"some in":              {body: `deny contains "x" if "sql" in input.token.scopes`, needs: []string{"tokens"}, facts: []string{"scopes"}},
		"under not":            {body: `deny contains "x" if not input.owner.active`, needs: []string{"principals", "tokens"}, facts: []string{"owner.active"}, weak: []string{"owner.active"}},
		"compared with false":  {body: `deny contains "x" if input.owner.active == false`, needs: []string{"principals", "tokens"}, facts: []string{"owner.active"}},
		"owner's id":           {body: `deny contains "x" if input.owner.id == "1"`, needs: []string{"tokens"}, facts: []string{"owner.id"}},
		"creator":              {body: `deny contains "x" if input.creator.admin`, needs: []string{"principals", "tokens"}, facts: []string{"creator.admin"}},
		"library rule":         {body: `deny contains "x" if data.patrol.lib.l.old`, needs: []string{"tokens"}, facts: []string{"age_days"}},
		"library under not":    {body: `deny contains "x" if not data.patrol.lib.l.old`, needs: []string{"tokens"}, facts: []string{"age_days"}, weak: []string{"age_days"}},
		"library with default": {body: `deny contains "x" if data.patrol.lib.l.active == false`, needs: []string{"principals", "tokens"}, facts: []string{"owner.active"}, weak: []string{"owner.active"}},
		"library with else":    {body: `deny contains "x" if data.patrol.lib.l.idle == "short"`, needs: []string{"tokens"}, facts: []string{"idle_days"}, weak: []string{"idle_days"}},
		"library set counted":  {body: `deny contains "x" if count(data.patrol.lib.l.names) == 0`, needs: []string{"principals", "tokens"}, facts: []string{"owner.groups"}, weak: []string{"owner.groups"}},
		"library set searched": {body: `deny contains "x" if data.patrol.lib.l.names["a"]`, needs: []string{"principals", "tokens"}, facts: []string{"owner.groups"}},
		"whole object":         {body: `deny contains "x" if data.patrol.lib.l.person(input.owner)`, needs: []string{"principals", "tokens"}, facts: party("owner."), weak: party("owner.")},
		"dynamic":              {body: "deny contains \"x\" if {\n\tsome k\n\tinput.token[k] == 9\n}", needs: []string{"tokens"}, facts: wholeToken},
		"nothing":              {body: `deny contains "x" if true`, needs: []string{"tokens"}},
		"applicable":           {body: "applicable if input.owner.admin\n\ndeny contains \"x\" if input.token.used", needs: []string{"principals", "tokens"}, facts: []string{"owner.admin", "used"}},
		"the audit log":        {body: `deny contains "x" if input.token.audit_events > 1`, needs: []string{"audit_log", "tokens"}, facts: []string{"audit_events"}},
		"caller":               {resource: "workspace", body: `deny contains "x" if input.workspace.caller.admin`, needs: []string{"workspace"}},
		"a secret":             {resource: "secret", body: `deny contains "x" if input.secret.age_days > 1`, needs: []string{"service_principal_secrets"}},
		"declared":             {custom: "needs: [grants]", body: `deny contains "x" if input.token.used`, needs: []string{"grants", "tokens"}, facts: []string{"used"}},
		"whole input": {body: `deny contains "x" if walk(input, [["token", "used"], true])`,
			needs: []string{"grants", "ip_access_lists", "principals", "restrict_workspace_admins", "settings", "tokens", "workspace"},
			facts: sorted(wholeToken, party("owner."), party("creator.")), weak: sorted(wholeToken, party("owner."), party("creator."))},
		"a setting":         {resource: "workspace", body: `deny contains "x" if input.workspace.settings.enableX == "true"`, needs: []string{"settings.enableX"}},
		"any setting":       {resource: "workspace", body: "deny contains \"x\" if {\n\tsome k\n\tinput.workspace.settings[k] == \"\"\n}", needs: []string{"settings"}},
		"derived settings":  {resource: "workspace", body: "deny contains \"x\" if {\n\tinput.workspace.pats_enabled\n\tinput.workspace.max_lifetime_days > 1\n\tinput.workspace.lifetime_limited\n}", needs: []string{"settings.enableTokensConfig", "settings.maxTokenLifetimeDays"}},
		"grants":            {resource: "workspace", body: `deny contains "x" if some g in input.workspace.grants`, needs: []string{"grants"}},
		"number of tokens":  {resource: "workspace", body: `deny contains "x" if input.workspace.tokens > 3`, needs: []string{"tokens"}},
		"another section":   {resource: "workspace", body: `deny contains "x" if input.workspace.ip_access_lists[_].enabled`, needs: []string{"ip_access_lists"}},
		"labels and names":  {resource: "workspace", body: `deny contains input.workspace.name if input.workspace.labels[_] == input.as_of`},
		"the whole of it":   {resource: "workspace", body: `deny contains "x" if object.get(input.workspace, "a", 1) == 1`, needs: []string{"grants", "ip_access_lists", "restrict_workspace_admins", "settings", "tokens", "workspace"}},
		"limit for a token": {body: `deny contains "x" if input.token.lifetime_days > input.workspace.max_lifetime_days`, needs: []string{"settings.maxTokenLifetimeDays", "tokens"}, facts: []string{"lifetime_days"}},
	} {
		t.Run(name, func(t *testing.T) {
			resource := "token"
			if c.resource != "" {
				resource = c.resource
			}
			set := load(t, map[string]string{
				resource + "/rule.rego": enginetest.PolicyText(resource, "rule", "X-1", c.custom, c.body), "lib/l.rego": library,
			})
			p := set.Resources[0]
			enginetest.Equal(t, p.Needs, c.needs)
			enginetest.Equal(t, p.Reads.Fields.Names(), c.facts)
			enginetest.Equal(t, p.Reads.Weak.Names(), c.weak)
		})
	}
}

func sorted(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return all
}

func TestFieldsFit(t *testing.T) {
	t.Parallel()
	if n := len(engine.Fields()); n > 64 || len(engine.FieldSet(1<<n-1).Names()) != n {
		t.Fatalf("%d fields do not fit into the bits of a FieldSet", n)
	}
}
