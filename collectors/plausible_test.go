package collectors_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
)

// contradicted is the section that each contradiction of the simulator ends, and
// the reason; the others stay as they are. A contradiction that is not here is
// one that no section of a workspace can notice.
func contradicted(name string) (section engine.SectionName, reason string) {
	list, what, _ := strings.Cut(name, "/")
	sections := map[string]engine.SectionName{
		"tokens": engine.SectionTokens, "users": engine.SectionPrincipals, "service-principals": engine.SectionPrincipals,
		"groups": engine.SectionGroups, "grants": engine.SectionGrants, "ip-access-lists": engine.SectionIPAccessLists,
		"secrets": engine.SectionSecrets, "federation-policies": engine.SectionFederation, "oauth-apps": engine.SectionOAuthApps, "recipients": engine.SectionRecipients, "settings": engine.SectionSettings,
	}
	reasons := map[string]string{
		"empty-object": "not_a_list", "null": "not_a_list", "error-object": "not_a_list", "detail": "not_a_list",
		"next-page-token": "paged", "nextPageToken": "paged", "has-more": "paged", "total": "paged",
		"total-too-high": "totals_differ", "total-too-low": "totals_differ", "total-moves": "totals_differ", "pages-repeat": "totals_differ",
		"token-in-use-missing": "own_token_missing", "own-missing": "own_token_missing", "caller-missing": "caller_missing",
		"fifth-of-owners-missing": "owners_missing", "without-members": "caller_not_in_admins", "admins-missing": "caller_not_in_admins",
		"nested-missing": "unlisted_group", "twice-id": "duplicate_key", "twice-active": "duplicate_key", "twice-permission_level": "duplicate_key",
		"twice-maxTokenLifetimeDays": "duplicate_key", "twice-enabled": "duplicate_key",
	}
	switch name {
	case "tokens/empty-object":
		return engine.SectionTokens, "own_token_missing"
	case "tokens/none":
		return engine.SectionTokens, "own_token_missing"
	case "settings/twice-status":
		return "restrict_workspace_admins", "duplicate_key"
	case "secrets/next-page-token", "federation-policies/next-page-token", "oauth-apps/next-page-token", "recipients/next-page-token": // which there is, and which is followed
		return "", ""
	case "federation-policies/empty-object", "oauth-apps/empty-object", "recipients/empty-object": // how the platform says none
		return "", ""
	case "ip-access-lists/twice-enabled": // of no list
		return "", ""
	case "users/none", "users/shrunk", "groups/none", "groups/shrunk", "service-principals/none", "service-principals/shrunk":
		return "", "" // TestShrunkLists, and what else is known
	}
	return sections[list], reasons[what]
}

// TestContradictions: each order of the simulator ends its section, says which
// contradiction it was, and costs no other section.
func TestContradictions(t *testing.T) {
	t.Parallel()
	for _, order := range simulator.Contradictions() {
		section, reason := contradicted(order.Name)
		if section == "" || reason == "" {
			continue
		}
		t.Run(order.Name, func(t *testing.T) {
			w := newWorld(t, simulator.Options{Seed: 1, Tokens: 400, Workspaces: 1, MaxPage: 40})
			if list, _, _ := strings.Cut(order.Name, "/"); list != "users" {
				w = newWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 1, MaxPage: 3})
			}
			switch section {
			case engine.SectionFederation, engine.SectionOAuthApps, engine.SectionRecipients:
				w = waysWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 1, MaxPage: 3})
			case engine.SectionSecrets:
				w.options.Sections = []engine.SectionName{engine.SectionSecrets}
			}
			if err := w.Contradict(order.Name, ""); err != nil {
				t.Fatal(err)
			}
			target := w.admin()
			if order.Name == "service-principals/caller-missing" {
				target = w.target(w.Workspaces()[0].Profile + "-oauth")
			}
			o := w.collect(target)
			for _, collector := range collectors.All() {
				c := w.coverage(o, collector.Section)
				switch {
				case collector.Section == section && (c.Status != engine.Implausible || c.Reason != reason || c.Detail == "" || c.Hint == "" || c.Usable()):
					t.Errorf("%+v, want %s", c, reason)
				case collector.Section != section && c.Requested() && !c.Complete() && section != engine.SectionPrincipals:
					t.Errorf("%s suffers: %+v", collector.Section, c)
				}
			}
		})
	}
}

// TestSoundLookingLists: lists whose shape and totals are sound, and which what
// else was read contradicts all the same.
func TestSoundLookingLists(t *testing.T) {
	t.Parallel()
	const scim, none = "/api/2.0/preview/scim/v2/", `{"totalResults":0}`
	for _, c := range []struct {
		name, reason string
		section      engine.SectionName
		fault        simulator.Fault
	}{
		{"no service principals, though groups have some", "members_missing", engine.SectionPrincipals, simulator.Fault{Path: scim + "ServicePrincipals$", Status: 200, Body: none}},
		{"another service principal", "members_missing", engine.SectionPrincipals, simulator.Fault{Path: scim + "ServicePrincipals$", Status: 200, Body: `{"Resources":[{"id":"1"}],"totalResults":1}`}},
		{"the caller is inactive", "caller_inactive", engine.SectionPrincipals, simulator.Fault{}},
		{"a mark in other letters", "paged", engine.SectionTokens, simulator.Fault{Path: tokensPath, Set: map[string]json.RawMessage{"Next_Page_Token": json.RawMessage(`"m"`)}}},
		{"a cursor", "paged", engine.SectionPrincipals, simulator.Fault{Path: scim + "Users$", Set: map[string]json.RawMessage{"nextCursor": json.RawMessage(`"m"`)}}},
		{"a link", "paged", engine.SectionIPAccessLists, simulator.Fault{Path: "/api/2.0/ip-access-lists$", Set: map[string]json.RawMessage{"nextLink": json.RawMessage(`"m"`)}}},
		{"most owners are inactive", "owners_inactive", engine.SectionPrincipals, simulator.Fault{}},
		{"the caller is no service principal", "caller_missing", engine.SectionPrincipals, simulator.Fault{}},
		{"nobody is signed in", "missing_id", engine.SectionWorkspace, simulator.Fault{Path: scim + "Me$", Status: 200, Body: `{}`}},
		{"an error in place of the caller", "missing_id", engine.SectionWorkspace, simulator.Fault{Path: scim + "Me$", Status: 200, Body: `{"detail":"try again"}`}},
		{"a total below zero", "bad_type", engine.SectionPrincipals, simulator.Fault{Path: scim + "Users$", Total: -100_000}},
		{"tokens are off, and one signed in", "token_works", engine.SectionSettings, simulator.Fault{Path: "/api/2.0/workspace-conf$", Set: map[string]json.RawMessage{"enableTokensConfig": json.RawMessage(`"false"`)}}},
		{"tokens of another workspace", "wrong_workspace", engine.SectionTokens, simulator.Fault{}},
		{"more, as text", "paged", engine.SectionTokens, simulator.Fault{Path: tokensPath, Set: map[string]json.RawMessage{"has_more": json.RawMessage(`"true"`)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 1})
			if c.reason == "wrong_workspace" { // among the rows of this one
				for _, id := range []int64{0, 4242} {
					if _, err := w.PutToken(w.Workspaces()[0].Name, simulator.Token{Raw: json.RawMessage(fmt.Sprintf(`{"token_id":"of-%d","workspace_id":%d,"owner_id":1,"creation_time":1761000000000,"expiry_time":-1}`, id, id))}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if c.reason == "owners_inactive" {
				for _, user := range w.Users() {
					if !strings.HasPrefix(user.Name, "patrol-admin@") {
						if _, err := w.Change(simulator.Change{User: &simulator.UserChange{Name: user.Name, Active: new(false)}}); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if c.reason == "caller_missing" { // it is one of the users, and listed among the others
				me := w.collect(w.admin()).Capture.Sections[engine.SectionPrincipals].Principals
				i := slices.IndexFunc(me, func(p engine.Principal) bool { return strings.HasPrefix(p.Name, "patrol-admin@") })
				w.AddFault(simulator.Fault{Path: scim + "Users$", Status: 200, Body: `{"Resources":[{"id":"1","userName":"x@example.com"}],"totalResults":1}`})
				c.fault = simulator.Fault{Path: scim + "ServicePrincipals$", Status: 200, Body: `{"Resources":[{"id":"` + me[i].ID + `"}],"totalResults":1}`}
			}
			if c.reason == "caller_inactive" {
				me := w.collect(w.admin()).Capture.Sections[engine.SectionPrincipals].Principals
				i := slices.IndexFunc(me, func(p engine.Principal) bool { return strings.HasPrefix(p.Name, "patrol-admin@") })
				c.fault = simulator.Fault{Path: scim + "Users$", Status: 200, Body: `{"Resources":[{"id":"` + me[i].ID + `","userName":"` + me[i].Name + `","active":false}],"totalResults":1}`}
			}
			w.AddFault(c.fault)
			if got := w.coverage(w.collect(w.admin()), c.section); got.Status != engine.Implausible || got.Reason != c.reason {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestGrantsBeliedByUse: grants by which people may not use the tokens that they
// use are not believed. Who uses none, and a few who lost the right since, are no
// contradiction.
func TestGrantsBeliedByUse(t *testing.T) {
	const grants, admins = "/api/2.0/permissions/authorization/tokens$", `{"group_name":"admins","all_permissions":[{"permission_level":"CAN_MANAGE"}]}`
	answer := func(entries string) simulator.Fault {
		return simulator.Fault{Path: grants, Status: 200, Body: `{"access_control_list":[` + entries + `]}`}
	}
	notFound := func(message string) simulator.Fault {
		return simulator.Fault{Path: grants, Status: 404, Body: `{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"` + message + `"}`}
	}
	for _, c := range []struct {
		name   string
		fault  simulator.Fault
		tokens int
		want   engine.CoverageStatus
		reason string
	}{
		{"nobody, not even admins", answer(""), 0, engine.Implausible, "not_a_list"},
		{"two names in one entry", answer(admins + `,{"group_name":"admins","user_name":"ann@example.com","all_permissions":[{"permission_level":"CAN_USE"}]}`), 0, engine.Partial, "contradictory"},
		{"rights on something else", simulator.Fault{Path: grants, Status: 200, Body: `{"object_type":"passwords","access_control_list":[` + admins + `]}`}, 0, engine.Implausible, "not_a_list"},
		{"admins only", answer(admins), 200, engine.Implausible, "tokens_of_non_admins"},
		{"users", answer(admins + `,{"group_name":"users","all_permissions":[{"permission_level":"CAN_USE"}]}`), 200, engine.Complete, ""},
		{"admins only, nobody has a token", answer(admins), 0, engine.Complete, ""},
		{"never set, nobody has a token", notFound("tokens tokens does not exist"), 0, engine.Complete, ""},
		{"never set", notFound("tokens tokens does not exist"), 200, engine.Implausible, "tokens_of_non_admins"},
		{"another thing does not exist", notFound("Workspace tokens endpoint does not exist in this region"), 0, engine.Failed, "not_found"},
		{"another 404", notFound("tokens service does not exist"), 0, engine.Failed, "not_found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, simulator.Options{Seed: 1, Tokens: c.tokens, Workspaces: 1})
			w.AddFault(c.fault)
			if got := w.coverage(w.collect(w.target(w.Workspaces()[0].Profile+"-oauth")), engine.SectionGrants); got.Status != c.want || got.Reason != c.reason {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestAdminsOfPoorLists: neither a second group called admins that tells nobody,
// nor a member that no list has, makes anybody no admin.
func TestAdminsOfPoorLists(t *testing.T) {
	t.Run("a second admins", func(t *testing.T) {
		w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 1})
		all := w.collect(w.admin()).Capture.Sections[engine.SectionPrincipals].Principals
		me := all[slices.IndexFunc(all, func(p engine.Principal) bool { return strings.HasPrefix(p.Name, "patrol-admin@") })].ID
		w.AddFault(simulator.Fault{Path: groupsPath + "$", Status: 200, Body: `{"totalResults":2,"Resources":[{"id":"1","displayName":"admins"},{"id":"2","displayName":"admins","members":[{"value":"` + me + `"}]}]}`})
		o := w.collect(w.admin())
		if c := w.coverage(o, engine.SectionGroups); c.Status != engine.Implausible {
			t.Errorf("%+v", c)
		}
		for _, p := range o.Capture.Sections[engine.SectionPrincipals].Principals {
			if p.Admin != nil && !*p.Admin {
				t.Errorf("%s is said to be no admin", p.Name)
			}
		}
	})
	t.Run("an unlisted member", func(t *testing.T) {
		w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 1})
		sections := w.collect(w.admin()).Capture.Sections
		principals, owners := sections[engine.SectionPrincipals].Principals, map[string]bool{}
		for token, err := range sections[engine.SectionTokens].Tokens {
			if err != nil {
				t.Fatal(err)
			}
			owners[token.OwnerID] = true
		}
		i := slices.IndexFunc(principals, func(p engine.Principal) bool {
			return *p.Admin && owners[p.ID] && !strings.HasPrefix(p.Name, "patrol-admin@") && p.Kind == engine.User
		})
		if i < 0 {
			t.Fatal("no other admin owns a token")
		}
		hidden := principals[i]
		w.AddFault(simulator.Fault{Path: "/api/2.0/preview/scim/v2/Users$", Hide: []string{hidden.Name}})
		o := w.collect(w.admin())
		if c := w.coverage(o, engine.SectionPrincipals); c.Status != engine.Partial || c.Reason != "missing" {
			t.Errorf("%+v", c)
		}
		for _, p := range o.Capture.Sections[engine.SectionPrincipals].Principals {
			if p.ID == hidden.ID && (p.Admin == nil || !*p.Admin || p.Active != nil || p.Kind != engine.User || p.Name != "") {
				t.Errorf("%+v", p)
			}
			if p.ID == hidden.ID {
				return
			}
		}
		t.Error("who is a member of admins is missing")
	})
}

// TestContradictionsThatPass: a page that says only once that there is more, and
// somebody who was removed between two pages, are gone on the second look.
func TestContradictionsThatPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 1, MaxPage: 20})
	if err := w.Contradict("users/removed-between-pages", ""); err != nil {
		t.Fatal(err)
	}
	if c := w.coverage(w.collect(w.admin()), engine.SectionPrincipals); !c.Complete() {
		t.Errorf("%+v", c)
	}
}

// TestOtherWorkspaceMidway: when another workspace answers, nothing more is asked.
func TestOtherWorkspaceMidway(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"workspace/id-midway", "workspace/other-midway"} {
		w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 2})
		if err := w.Contradict(order, ""); err != nil {
			t.Fatal(err)
		}
		o := w.collect(w.admin())
		known, ok := engine.AsError(o.Err)
		if !ok || known.Reason != "wrong_workspace" {
			t.Errorf("%s: error %v", order, o.Err)
		}
		for _, section := range []engine.SectionName{engine.SectionTokens, engine.SectionPrincipals, engine.SectionGrants} {
			if c := w.coverage(o, section); c.Reason != "wrong_workspace" || c.Usable() {
				t.Errorf("%s, %s: %+v", order, section, c)
			}
		}
		if n := len(w.Requests()); n > 4 {
			t.Errorf("%s: %d requests, though the third was answered by another workspace", order, n)
		}
	}
}

// TestTokenInUseIsUsed: the token that signs in has been used, though no row of
// the list tells the last use of any.
func TestTokenInUseIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 1})
	w.AddFault(simulator.Fault{Path: tokensPath + "$", Strip: []string{"last_used_day"}})
	own, found := fmt.Sprintf("%x", sha256.Sum256([]byte(w.Workspaces()[0].Token))), false
	for token, err := range w.collect(w.admin()).Capture.Sections[engine.SectionTokens].Tokens {
		if err != nil {
			t.Fatal(err)
		}
		if found = found || token.ID == own; token.ID == own {
			if used := engine.Derive(token, now.UnixMilli()).Used; used == nil || !*used {
				t.Errorf("not known to be used: %+v", token)
			}
		} else if token.LastUsed != nil {
			t.Errorf("the list told nothing of %+v", token)
		}
	}
	if !found {
		t.Error("the token in use is not listed")
	}
}

// TestAdminIsUnknown: where groups cannot be read, nobody is known to be no admin.
func TestAdminIsUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 1})
	sound := w.collect(w.admin()).Capture.Sections[engine.SectionPrincipals].Principals
	w.AddFault(simulator.Fault{Path: groupsPath, Status: 403})
	o := w.collect(w.admin())
	if c := w.coverage(o, engine.SectionPrincipals); !c.Complete() {
		t.Fatalf("principals suffer: %+v", c)
	}
	proven := 0
	for i, p := range o.Capture.Sections[engine.SectionPrincipals].Principals {
		switch {
		case p.Admin == nil:
		case !*p.Admin:
			t.Errorf("%s is said to be no admin", p.Name)
		case !*sound[i].Admin:
			t.Errorf("%s is said to be an admin", p.Name)
		default:
			proven++
		}
	}
	if proven == 0 {
		t.Error("nobody is proven to be an admin by its own row")
	}
}

// TestGroupsSingly: where the list with members takes too long, groups are read
// one by one, and nothing is lost.
func TestGroupsSingly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 1})
	sound := w.collect(w.admin()).Capture.Sections[engine.SectionPrincipals].Principals
	w.AddFault(simulator.Fault{Path: groupsPath + "$", Query: "members", Status: 504})
	o := w.collect(w.admin())
	if c := w.coverage(o, engine.SectionGroups); !c.Complete() || c.Count == 0 {
		t.Fatalf("%+v", c)
	}
	for i, p := range o.Capture.Sections[engine.SectionPrincipals].Principals {
		if *p.Admin != *sound[i].Admin || !slices.Equal(p.Groups, sound[i].Groups) {
			t.Errorf("%s: %v %v, want %v %v", p.Name, *p.Admin, p.Groups, *sound[i].Admin, sound[i].Groups)
		}
	}
}

// TestTokensOff: tokens that the workspace's settings switch off, and whose list
// is answered as disabled, are known to be off.
func TestTokensOff(t *testing.T) {
	t.Parallel()
	off := simulator.Fault{Path: tokensPath, Status: 404, Body: `{"error_code":"FEATURE_DISABLED","message":"off"}`}
	for _, value := range []string{"false", "true"} {
		w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 1})
		w.AddFault(off)
		w.AddFault(simulator.Fault{Path: settingsPath, Set: map[string]json.RawMessage{"enableTokensConfig": json.RawMessage(`"` + value + `"`)}})
		want := engine.Disabled
		if value == "false" {
			want = engine.Off
		}
		if c := w.coverage(w.collect(w.admin()), engine.SectionTokens); c.Status != want || c.Detail == "" {
			t.Errorf("enableTokensConfig %s: %+v", value, c)
		}
	}
}

// TestShrunkLists: a list that lost a fifth of its rows since the snapshot before
// is not believed, unless that is accepted for this very list.
func TestShrunkLists(t *testing.T) {
	t.Parallel()
	for _, list := range collectors.Shrinkable() {
		for _, accepted := range []bool{false, true} {
			document := []byte(`{"users":5,"service_principals":5}`)
			capture := engine.Capture{Sections: map[engine.SectionName]engine.Section{
				engine.SectionTokens:            {Coverage: engine.Coverage{Status: engine.Complete, Count: 5}},
				engine.SectionGroups:            {Coverage: engine.Coverage{Status: engine.Complete, Count: 5}},
				engine.SectionPrincipals:        {Coverage: engine.Coverage{Status: engine.Complete, Count: 10}, Document: document},
				engine.SectionAccountPrincipals: {Coverage: engine.Coverage{Status: engine.Complete}, Document: []byte(`{"total":5}`)},
			}}
			var accept []engine.SectionName
			if accepted {
				accept = []engine.SectionName{list}
			}
			collectors.HoldAgainst(capture, collectors.Counts{list: 9}, accept)
			doubted := 0
			for _, section := range capture.Sections {
				if section.Coverage.Status == engine.Implausible {
					doubted++
					if section.Coverage.Reason != "shrunk" || !strings.Contains(section.Coverage.Hint, "--accept-shrink "+string(list)) {
						t.Errorf("%s: %+v", list, section.Coverage)
					}
				}
			}
			if want := map[bool]int{false: 1, true: 0}[accepted]; doubted != want {
				t.Errorf("%s, accepted %v: %d sections are doubted", list, accepted, doubted)
			}
		}
	}
}
