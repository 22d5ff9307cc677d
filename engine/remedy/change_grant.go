package remedy

import (
	"context"
	"net/http"
	"slices"

	"patrol/engine"
)

const grantsPath = "/api/2.0/permissions/authorization/tokens"

// ChangeGrant adds and takes away entries of the list of who may use tokens.
// Adding is a PATCH, which touches nothing else. The platform has no call that
// takes one entry away: that is a PUT of the list as it was read a moment ago
// without the entry, after apply has held the whole list against the plan.
func (set set) ChangeGrant() engine.Remedy {
	return engine.Remedy{
		Name: engine.ChangeGrant, Undoable: true,
		Doc:  "Changes who may create and use tokens. Tokens of those who lose the right stop working until it is given back; an undo writes the entries back.",
		Sent: "PATCH or PUT " + grantsPath,
		Read: set.readGrants,
		Do:   set.writeGrants,
		Reached: func(s engine.Step, seen engine.Observation) bool {
			list, err := engine.GrantsOf(seen.State)
			if err != nil {
				return false
			}
			added, removed, err := difference(s)
			return err == nil && holdsAll(list, added) && !holdsAny(list, removed)
		},
	}
}

func (set set) readGrants(ctx context.Context, c engine.Client, s engine.Step) (engine.Observation, error) {
	r, absent, err := get(ctx, c, s, grantsPath)
	if err != nil || absent {
		return engine.Observation{Absent: absent, HTTP: r.Status}, err
	}
	grants, err := set.parse.Grants(r.Body)
	if err != nil {
		return engine.Observation{}, unreadable("GET "+grantsPath, err)
	}
	state := engine.GrantsState(grants)
	return engine.Observation{State: state, Prior: engine.CompactJSON(state), HTTP: r.Status}, nil
}

func (set set) writeGrants(ctx context.Context, c engine.Client, s engine.Step, before engine.Observation) (engine.Receipt, error) {
	added, removed, err := difference(s)
	if err != nil {
		return engine.Receipt{}, &engine.Fault{Kind: engine.FaultRejected, Detail: clip(err.Error())}
	}
	if len(removed) == 0 {
		return act(ctx, c, s, http.MethodPatch, grantsPath, aclBody(added, false), object)
	}
	list, err := engine.GrantsOf(before.State)
	if err != nil {
		return engine.Receipt{}, &engine.Fault{Kind: engine.FaultRejected, Detail: clip(err.Error())}
	}
	kept := slices.DeleteFunc(list, func(g engine.Grant) bool { return holdsAny([]engine.Grant{g}, removed) })
	return act(ctx, c, s, http.MethodPut, grantsPath, aclBody(append(kept, added...), true), object)
}

// difference is what the step adds to and takes from the list it was planned on.
func difference(s engine.Step) (added, removed []engine.Grant, err error) {
	before, err := engine.GrantsOf(s.Precondition.Identity)
	if err != nil {
		return nil, nil, err
	}
	after, err := engine.GrantsOf(s.Expected)
	if err != nil {
		return nil, nil, err
	}
	return without(after, before), without(before, after), nil
}

func without(list, others []engine.Grant) []engine.Grant {
	return slices.DeleteFunc(slices.Clone(list), func(g engine.Grant) bool { return holdsAny([]engine.Grant{g}, others) })
}

func same(a, b engine.Grant) bool {
	return a.Kind == b.Kind && a.Principal == b.Principal && a.Level == b.Level && a.Inherited == b.Inherited
}

func holdsAny(list, wanted []engine.Grant) bool {
	return slices.ContainsFunc(list, func(g engine.Grant) bool {
		return slices.ContainsFunc(wanted, func(w engine.Grant) bool { return same(g, w) })
	})
}

func holdsAll(list, wanted []engine.Grant) bool {
	return !slices.ContainsFunc(wanted, func(w engine.Grant) bool { return !holdsAny(list, []engine.Grant{w}) })
}

// aclBody spells entries for the API. Inherited ones come from elsewhere and
// are not for this list to state. Of the admins a whole list has exactly one
// entry, without which the platform refuses it; a list that adds has none.
func aclBody(grants []engine.Grant, whole bool) []byte {
	names := map[string]string{"user": "user_name", "group": "group_name", "service_principal": "service_principal_name"}
	entries := []map[string]string{}
	if whole {
		entries = append(entries, map[string]string{"group_name": "admins", "permission_level": "CAN_MANAGE"})
	}
	for _, g := range grants {
		if g.Inherited || g.Kind == "group" && g.Principal == "admins" {
			continue
		}
		entries = append(entries, map[string]string{names[g.Kind]: g.Principal, "permission_level": g.Level})
	}
	return engine.CompactJSON(map[string]any{"access_control_list": entries})
}
