package collectors

import (
	"cmp"
	"context"
	"encoding/json"
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
			owner := func(p engine.FederationPolicy) string { return p.OwnerID }
			return readOfAccount(ctx, c, func(l *accountLists) *accountList[engine.FederationPolicy] { return &l.federation }, readFederation, owner)
		},
	}
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
			policy.OwnerID, policy.OwnerName, policy.OwnerLabel = principal.id, principal.text("applicationId"), principal.text("displayName")
		}
		policies = append(policies, policy)
	}
	rows, problem := pagedRows(ctx, c, root+"/federationPolicies", "policies", nil, true)
	for _, raw := range rows {
		take(scimRow{}, raw)
	}
	if problem != nil {
		return nil, problem.hinted(hintFederationDenied, hintFederationAbsent)
	}
	principals, problem := servicePrincipals(ctx, c, t)
	if problem != nil {
		return nil, problem
	}
	path := func(id string) string { return root + "/servicePrincipals/" + id + "/federationPolicies" }
	if problem := eachOfPrincipals(ctx, c, t, principals, path, "policies", true, take); problem != nil {
		return nil, problem.hinted(hintFederationDenied, hintFederationAbsent)
	}
	slices.SortFunc(policies, func(a, b engine.FederationPolicy) int {
		return cmp.Or(cmp.Compare(a.OwnerID, b.OwnerID), cmp.Compare(a.ID, b.ID))
	})
	return policies, nil
}

// readFederationPolicy reads a row of an owner, "" for the account. A policy of a
// service principal names one subject, one of the account none.
func readFederationPolicy(raw json.RawMessage, owner string) (p engine.FederationPolicy, reason string) {
	r := newListRow(raw)
	oidc := r.within("oidc_policy")
	p = engine.FederationPolicy{
		ID: r.text("uid"), Issuer: oidc.text("issuer"), Subject: oidc.text("subject"), SubjectClaim: firstOf(oidc.text("subject_claim"), "sub"),
		Audiences: append([]string{}, oidc.texts("audiences")...),
		OwnKeys:   !absent(oidc.member("jwks_uri")) || !absent(oidc.member("jwks_json")),
	}
	of := r.id("service_principal_id")
	r.must(of == "" || of == owner, reasonBadType)
	r.must(p.ID != "" && p.Issuer != "" && (owner == "" || p.Subject != ""), reasonMissing)
	return p, r.reason
}
