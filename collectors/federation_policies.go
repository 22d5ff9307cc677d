package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"

	"patrol/engine"
)

const (
	federationPath       = "/api/2.0/accounts/{account}/federationPolicies"
	federationOfPath     = "/api/2.0/accounts/{account}/servicePrincipals/{id}/federationPolicies"
	reasonNoAccount      = "no_account"
	hintFederation       = "Ask for it with --with federation_policies and --account; it takes the rights of an account admin."
	hintNoAccount        = "Only an account tells this: read its workspaces with --account, or `account:` in patrol.yaml."
	hintFederationDenied = "Sign in to the account as an account admin, or leave federation_policies out of --with."
	hintFederationAbsent = "This account does not answer for federation policies: leave federation_policies out of --with."
)

// FederationPolicies reads who else's tokens may sign in, and as whom.
func (set) FederationPolicies() Collector {
	return Collector{
		Section:   engine.SectionFederation,
		Doc:       "federation policies of the account and of the workspace's service principals: whose tokens may sign in, and as whom",
		Calls:     []string{"GET " + federationPath, "GET /api/2.0/accounts/{account}/scim/v2/ServicePrincipals", "GET " + federationOfPath},
		Rights:    "account admin",
		Scopes:    []string{"authentication:read", "scim:read"},
		OnRequest: hintFederation,
		Order:     82,
		Read: func(ctx context.Context, c *Client) engine.Section {
			return readOfAccount(ctx, c, func(a *Account) *onceList[engine.FederationPolicy] { return &a.lists.federation }, readFederation)
		},
	}
}

// accountLists are what an account has beyond its workspaces, each read once for
// all of them, when the first one asks.
type accountLists struct {
	federation onceList[engine.FederationPolicy]
	apps       onceList[engine.OAuthApp]
}

// readFederation reads the policies of the account and of each of its service principals.
func readFederation(ctx context.Context, a *accountClient, t *tally) ([]engine.FederationPolicy, *Problem) {
	c := a.accountDirectory()
	defer c.http.CloseIdleConnections()
	root := "/api/2.0/accounts/" + a.id
	var policies []engine.FederationPolicy
	take := func(principal scimRow, raw json.RawMessage) {
		policy, reason := readFederationPolicy(raw, principal.id)
		if reason != "" {
			t.add(reason, "a federation policy of %s has no id, issuer or subject that can be read", engine.SafeText(firstOf(principal.id, "the account")))
			return
		}
		if principal.id != "" {
			policy.OwnerID, policy.OwnerName, policy.OwnerLabel = principal.id, principal.text("applicationId", t), principal.text("displayName", t)
		}
		policies = append(policies, policy)
	}
	rows, problem := pagedRows(ctx, c, root+"/federationPolicies", "policies", nil, true)
	if problem != nil {
		if problem.Reason == reasonPermission {
			problem.Hint = hintFederationDenied
		}
		return nil, problem.absent(hintFederationAbsent)
	}
	for _, raw := range rows {
		take(scimRow{}, raw)
	}
	list := principalList{
		path: func(id string) string {
			return root + "/servicePrincipals/" + url.PathEscape(id) + "/federationPolicies"
		},
		key: "policies", sparse: true, denied: hintFederationDenied, absent: hintFederationAbsent,
	}
	if problem := list.read(ctx, c, t, take); problem != nil {
		return nil, problem
	}
	slices.SortFunc(policies, func(a, b engine.FederationPolicy) int {
		return cmp.Or(cmp.Compare(a.OwnerID, b.OwnerID), cmp.Compare(a.ID, b.ID))
	})
	return policies, nil
}

// readFederationPolicy reads a row of an owner, "" for the account. A policy of a
// service principal names one subject, one of the account none.
func readFederationPolicy(raw json.RawMessage, owner string) (p engine.FederationPolicy, reason string) {
	o, ok := parseObject(raw)
	if !ok {
		return p, reasonBadType
	}
	oidc, ok := parseObject(o.members["oidc_policy"])
	if !ok {
		return p, reasonMissing
	}
	var oks [7]bool
	p.ID, oks[0] = asText(o.members["uid"])
	p.Issuer, oks[1] = asText(oidc.members["issuer"])
	p.Subject, oks[2] = asText(oidc.members["subject"])
	p.SubjectClaim, oks[3] = asText(oidc.members["subject_claim"])
	p.Audiences, oks[4] = asTexts(oidc.members["audiences"])
	of, okOf := asID(o.members["service_principal_id"])
	oks[5], oks[6] = okOf, of == "" || of == owner
	switch {
	case oks != [7]bool{true, true, true, true, true, true, true}:
		return p, reasonBadType
	case p.ID == "", p.Issuer == "", owner != "" && p.Subject == "":
		return p, reasonMissing
	}
	p.SubjectClaim = firstOf(p.SubjectClaim, "sub")
	p.OwnKeys = !absent(oidc.members["jwks_uri"]) || !absent(oidc.members["jwks_json"])
	if p.Audiences == nil {
		p.Audiences = []string{}
	}
	return p, ""
}
