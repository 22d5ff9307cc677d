package remedy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"patrol/engine"
)

const grantsPath = "/api/2.0/permissions/authorization/tokens"

const (
	levelUse    = "CAN_USE"
	levelManage = "CAN_MANAGE"
)

// ChangeGrant adds and takes away entries of the list of who may use tokens.
// Adding is a PATCH, which touches nothing else. The platform has no call that
// takes one entry away: that is a PUT of the list as it was read a moment ago
// without the entry, after apply has held the whole list against the plan.
func (set set) ChangeGrant() Remedy {
	return Remedy{
		Name: engine.ChangeGrant, Rank: 6, For: []engine.Resource{engine.ResourceWorkspace}, Section: engine.SectionGrants,
		Doc:       "Changes who may create and use tokens. Tokens of those who lose the right stop working until it is given back; an undo writes the entries back.",
		Sent:      "PATCH or PUT " + grantsPath,
		Workspace: grants,
		Endangers: endangeredByGrant,
		Effect: func(s engine.Step) string {
			return granted(s.Precondition.Identity) + " → " + granted(s.Expected)
		},
		CLI: func(s engine.Step, profile string) string {
			kept, _ := grantsOf(s.Expected)
			return "databricks token-management set-permissions" + profile + " --json " + ShellQuote(ASCII(aclBody(kept, true)))
		},
		HCL:  grantsHCL,
		Read: set.readGrants,
		Do:   set.writeGrants,
		Reached: func(s engine.Step, seen engine.Observation) bool {
			list, err := grantsOf(seen.State)
			if err != nil {
				return false
			}
			added, removed, err := difference(s)
			return err == nil && len(without(added, list)) == 0 && len(without(removed, list)) == len(removed)
		},
		Undo: func(s engine.Step, prior map[string]any) (identity, expected map[string]any, why string) {
			left, err1 := engine.GrantsOf(s.Expected)
			before, err2 := engine.GrantsOf(prior)
			if err := errors.Join(err1, err2); err != nil || prior == nil {
				return nil, nil, "who could use tokens before cannot be read"
			}
			return engine.GrantsState(left), engine.GrantsState(before), ""
		},
	}
}

// grants proposes to take CAN_USE from the groups that policies call too large,
// all in one step: its precondition is the whole list, which each change makes
// another.
func grants(site Site, findings []engine.Finding) ([]Change, []Refusal) {
	var groups, principals []string
	for _, f := range findings {
		groups = append(groups, engine.TextsOf(site.Param(f.Policy, "groups"))...)
	}
	var removed, kept engine.Grants
	for _, g := range site.Grants {
		if g.Kind == "group" && g.Level == levelUse && hasFold(groups, g.Principal) {
			removed, principals = append(removed, g), append(principals, g.Principal)
		} else {
			kept = append(kept, g)
		}
	}
	switch {
	case len(removed) == 0:
		return nil, refuse(findings, "no_remedy", "no "+levelUse+" of a group in the policy's parameter `groups` can be taken away")
	case slices.ContainsFunc(removed, func(g engine.Grant) bool { return g.Inherited }):
		return nil, refuse(findings, "no_remedy", "the grant is inherited: change it where it comes from")
	case !site.Snapshot.Coverage[engine.SectionTokens].Whole():
		return nil, refuse(findings, "coverage", "the tokens that depend on the grant were not read whole")
	}
	return []Change{{
		Findings: findings, Target: strings.Join(principals, ","), Identity: engine.GrantsState(site.Grants), Expected: engine.GrantsState(kept),
		Safe:      engine.Risk{Level: Medium, Why: "no live token depends on the grant"},
		Why:       "they stop working at once and may be deleted, as only this grant lets their owners use them",
		Protected: ": give their owners " + levelUse + " by another group first",
	}}, nil
}

// endangeredByGrant tells whose owner would lose the right to use a token. The
// groups that lose it hold everybody, so it is enough to look for another grant;
// an owner who is not in the directory has none that is known.
func endangeredByGrant(s engine.Step) func(engine.Subject) bool {
	_, removed, err := difference(s)
	kept, err2 := grantsOf(s.Expected)
	if err = errors.Join(err, err2); err == nil && len(removed) == 0 {
		return nil
	}
	return func(subject engine.Subject) bool {
		owner := subject.Owner
		return err != nil || !slices.ContainsFunc(kept, func(g engine.Grant) bool {
			switch {
			case g.Level != levelUse && g.Level != levelManage:
				return false
			case g.Kind == "group":
				admin := owner.Admin != nil && *owner.Admin && strings.EqualFold(g.Principal, "admins")
				return admin || hasFold(owner.Groups, g.Principal)
			}
			kind := engine.User
			if g.Kind == "service_principal" {
				kind = engine.ServicePrincipal
			}
			return owner.Kind == kind && owner.Name != "" && strings.EqualFold(g.Principal, owner.Name)
		})
	}
}

// granted is the whole list of who may use tokens: what a change leaves out of
// it loses its right.
func granted(state map[string]any) string {
	list, err := grantsOf(state)
	var texts []string
	for _, g := range list {
		texts = append(texts, g.Principal+" "+g.Level)
	}
	if err != nil || len(texts) == 0 {
		return "nobody"
	}
	return strings.Join(texts, ", ")
}

func grantsHCL(b *strings.Builder, steps []engine.Step, workspace string) {
	for _, s := range steps {
		b.WriteByte('\n')
		Comment(b, "", "%s %s takes %s from %s, not before %s: %s", s.ID, strings.Join(s.Policies, ", "), levelUse, s.Target, s.NotBefore, s.Risk.Why)
		list, _ := grantsOf(s.Expected)
		kept := slices.DeleteFunc(list, func(g engine.Grant) bool { return g.Level != levelUse || g.Inherited })
		if len(kept) == 0 {
			Comment(b, "", "Nobody but admins would be left: databricks_permissions cannot say so. Use patrol apply or the API.")
			continue
		}
		mark := ""
		if s.Critical {
			Comment(b, "", "CRITICAL: remove the # when you are sure.")
			mark = "# "
		}
		lines := []string{
			fmt.Sprintf("resource \"databricks_permissions\" %s {", HCLQuote(workspace+"_tokens")),
			"  provider      = databricks." + workspace, `  authorization = "tokens"`,
		}
		for _, g := range kept {
			lines = append(lines, "  access_control {", fmt.Sprintf("    %s = %s", principalField(g), HCLQuote(g.Principal)),
				"    permission_level = "+HCLQuote(levelUse), "  }")
		}
		for _, line := range append(lines, "}") {
			b.WriteString(mark + line + "\n")
		}
	}
}

// principalField is how the API calls the principal of an entry.
func principalField(g engine.Grant) string {
	return map[string]string{"user": "user_name", "group": "group_name", "service_principal": "service_principal_name"}[g.Kind]
}

func (set set) readGrants(ctx context.Context, c engine.Client, s engine.Step) (engine.Observation, error) {
	return readState(ctx, c, s, grantsPath, func(body []byte) (state, prior map[string]any, err error) {
		grants, err := set.parse.Grants(body)
		state = engine.GrantsState(grants)
		return state, state, err
	})
}

func (set set) writeGrants(ctx context.Context, c engine.Client, s engine.Step, before engine.Observation) (engine.Receipt, error) {
	added, removed, err := difference(s)
	if err != nil {
		return engine.Receipt{}, &engine.Fault{Kind: engine.FaultRejected, Detail: clip(err.Error())}
	}
	if len(removed) == 0 {
		return act(ctx, c, s, http.MethodPatch, grantsPath, engine.CompactJSON(aclBody(added, false)), object)
	}
	list, err := grantsOf(before.State)
	if err != nil {
		return engine.Receipt{}, &engine.Fault{Kind: engine.FaultRejected, Detail: clip(err.Error())}
	}
	return act(ctx, c, s, http.MethodPut, grantsPath, engine.CompactJSON(aclBody(append(without(list, removed), added...), true)), object)
}

// difference is what the step adds to and takes from the list it was planned on.
func difference(s engine.Step) (added, removed []engine.Grant, err error) {
	before, err := grantsOf(s.Precondition.Identity)
	if err != nil {
		return nil, nil, err
	}
	after, err := grantsOf(s.Expected)
	if err != nil {
		return nil, nil, err
	}
	return without(after, before), without(before, after), nil
}

// without is a list without the entries of another.
func without(list, others []engine.Grant) []engine.Grant {
	return slices.DeleteFunc(slices.Clone(list), func(g engine.Grant) bool { return slices.Contains(others, g) })
}

// grantsOf is the list of a state. Where an entry is inherited from makes it no
// other entry.
func grantsOf(state map[string]any) (engine.Grants, error) {
	list, err := engine.GrantsOf(state)
	for i := range list {
		list[i].InheritedFrom = ""
	}
	return list, err
}

// aclBody spells entries for the API. Inherited ones come from elsewhere and
// are not for this list to state. Of the admins a whole list has exactly one
// entry, without which the platform refuses it; a list that adds has none.
func aclBody(grants []engine.Grant, whole bool) map[string]any {
	entries := []map[string]string{}
	if whole {
		entries = append(entries, map[string]string{"group_name": "admins", "permission_level": levelManage})
	}
	for _, g := range grants {
		if !g.Inherited && (g.Kind != "group" || g.Principal != "admins") {
			entries = append(entries, map[string]string{principalField(g): g.Principal, "permission_level": g.Level})
		}
	}
	return map[string]any{"access_control_list": entries}
}
