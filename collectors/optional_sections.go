package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"

	"patrol/engine"
)

const (
	secretsPath       = "/api/2.0/accounts/servicePrincipals/{id}/credentials/secrets"
	hintSecretsDenied = "Sign in as an account admin or a manager of the service principals, or leave service_principal_secrets out of --with."
)

// ServicePrincipalSecrets reads the OAuth secrets of every service principal,
// a call or more for each. An ordinary workspace admin may not read them, so
// that they are read on request only.
func (set) ServicePrincipalSecrets() Collector {
	return Collector{
		Section:   engine.SectionSecrets,
		Doc:       "OAuth secrets of service principals: when they were made and when they expire, never their values",
		Calls:     []string{"GET " + scimPath + "ServicePrincipals", "GET " + secretsPath},
		Rights:    "account admin, or manager of each service principal",
		Scopes:    []string{"authentication:read", "scim:read"},
		OnRequest: "Ask for it with --with service_principal_secrets; it takes the rights of an account admin.",
		Order:     80,
		Read:      readSecrets,
	}
}

func readSecrets(ctx context.Context, c *Client) engine.Section {
	var t tally
	principals, problem := servicePrincipals(ctx, c, &t)
	if problem != nil {
		return failed(problem)
	}
	rows, problem := rowsOfPrincipals(ctx, c, &t, principals, secretsPath, "secrets", false)
	if problem != nil {
		return failed(problem.hinted(hintSecretsDenied,
			"This workspace does not answer for OAuth secrets: leave service_principal_secrets out of --with."))
	}
	secrets, w := engine.Secrets{}, windowAt(c.now())
	for _, r := range rows {
		s := engine.Secret{
			ID: r.text("id"), Status: r.text("status"), Scopes: r.texts("scopes"), Expires: engine.NeverExpires,
			OwnerID: r.owner.id, OwnerName: r.owner.text("applicationId"), OwnerLabel: r.owner.text("displayName"),
		}
		r.must(s.ID != "" && s.Status != "" && !absent(r.member("create_time")), reasonMissing)
		s.Created = r.instant("create_time")
		if !absent(r.member("expire_time")) {
			s.Expires = r.instant("expire_time")
			r.must(s.Expires >= s.Created && s.Expires <= w.to, reasonBadTimestamp)
		}
		r.must(s.Created >= w.from && s.Created <= w.now, reasonBadTimestamp)
		if r.reason != "" {
			t.add(r.reason, "a secret of service principal %s has no id, status or dates that can be read", engine.SafeText(r.owner.id))
			continue
		}
		secrets = append(secrets, s)
	}
	slices.SortFunc(secrets, func(a, b engine.Secret) int {
		return cmp.Or(cmp.Compare(a.OwnerID, b.OwnerID), cmp.Compare(a.ID, b.ID))
	})
	coverage := t.coverage(len(secrets))
	if coverage.Reason == reasonPermission {
		coverage.Hint = hintSecretsDenied
	}
	return engine.Section{Coverage: coverage, Document: document(secrets)}
}

// ownedRow is a row of a list that a service principal has.
type ownedRow struct {
	*listRow

	owner scimRow // without an id: the account
}

const mostRefusals = 3 // without a single answer: whoever may read none is not to ask for all

// servicePrincipals are those of the client's directory.
func servicePrincipals(ctx context.Context, c *Client, t *tally) (principals []scimRow, problem *Problem) {
	problem = scimRows(ctx, c, "ServicePrincipals", "id,applicationId,displayName", t, func(row scimRow) { principals = append(principals, row) })
	return principals, problem
}

// rowsOfPrincipals reads a list that each service principal has, one after the other:
// the client's rate is the limit. One that may not be read leaves the section
// partial, unless all are refused.
func rowsOfPrincipals(ctx context.Context, c *Client, t *tally, principals []scimRow, path, key string, sparse bool) ([]ownedRow, *Problem) {
	var all []ownedRow
	answered, refused := 0, 0
	for _, principal := range principals {
		rows, problem := pagedRows(ctx, c, strings.Replace(path, "{id}", url.PathEscape(principal.id), 1), key, nil, sparse)
		switch {
		case problem == nil:
			answered++
			for _, raw := range rows {
				all = append(all, ownedRow{newListRow(raw), principal})
			}
		case problem.absent():
			t.note("service principal %s went away meanwhile", engine.SafeText(principal.id))
		case problem.Reason == reasonPermission:
			if refused++; answered == 0 && refused >= mostRefusals {
				return nil, problem
			}
			t.add(reasonPermission, "the %s of service principal %s may not be read", key, engine.SafeText(principal.id))
		default:
			return nil, problem
		}
	}
	return all, nil
}

// accountList is a list of an account, which is read once for all workspaces, when the
// first one asks.
type accountList struct {
	once    sync.Once
	rows    []accountRow
	tally   tally
	problem *Problem
}

type accountRow struct {
	owner string // id of its service principal; "": of the account itself
	key   string // rows of an owner are sorted by it
	value any
}

// readOfAccount is the section that a list of the account makes of a workspace. Rows
// of service principals that the workspace does not have stay out.
func readOfAccount(ctx context.Context, c *Client, read func(context.Context, *accountClient, *tally) ([]accountRow, *Problem)) engine.Section {
	account := c.o.Account
	if account == nil || account.client == nil {
		return failed(problemOf(reasonNoAccount, "Only an account tells this: read its workspaces with --account, or `account:` in patrol.yaml.", "the account was not asked"))
	}
	list := account.lists[c.section]
	list.once.Do(func() {
		list.rows, list.problem = read(ctx, account.client, &list.tally)
		slices.SortFunc(list.rows, func(a, b accountRow) int { return cmp.Or(cmp.Compare(a.owner, b.owner), cmp.Compare(a.key, b.key)) })
	})
	if list.problem != nil {
		return failed(list.problem)
	}
	here := map[string]bool{"": true}
	if slices.ContainsFunc(list.rows, func(row accountRow) bool { return row.owner != "" }) {
		principals, problem := servicePrincipals(ctx, c, &tally{})
		if problem != nil {
			return failed(problem)
		}
		for _, principal := range principals {
			here[principal.id] = true
		}
	}
	rows := []any{}
	for _, row := range list.rows {
		if here[row.owner] {
			rows = append(rows, row.value)
		}
	}
	return engine.Section{Coverage: list.tally.coverage(len(rows)), Document: document(rows)}
}

const (
	federationPath       = "/api/2.0/accounts/{account}/federationPolicies"
	federationOfPath     = "/api/2.0/accounts/{account}/servicePrincipals/{id}/federationPolicies"
	reasonNoAccount      = "no_account"
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
		OnRequest: "Ask for it with --with federation_policies and --account; it takes the rights of an account admin.",
		Order:     82,
		Read:      func(ctx context.Context, c *Client) engine.Section { return readOfAccount(ctx, c, readFederation) },
	}
}

// readFederation reads the policies of the account and of each of its service
// principals. A policy of a service principal names one subject, one of the account
// none.
func readFederation(ctx context.Context, a *accountClient, t *tally) ([]accountRow, *Problem) {
	c := a.accountDirectory()
	defer c.http.CloseIdleConnections()
	ofAccount, problem := pagedRows(ctx, c, a.path(federationPath), "policies", nil, true)
	if problem != nil {
		return nil, problem.hinted(hintFederationDenied, hintFederationAbsent)
	}
	principals, problem := servicePrincipals(ctx, c, t)
	if problem != nil {
		return nil, problem
	}
	rows, problem := rowsOfPrincipals(ctx, c, t, principals, a.path(federationOfPath), "policies", true)
	if problem != nil {
		return nil, problem.hinted(hintFederationDenied, hintFederationAbsent)
	}
	for _, raw := range ofAccount {
		rows = append(rows, ownedRow{listRow: newListRow(raw)})
	}
	var policies []accountRow
	for _, r := range rows {
		oidc := r.within("oidc_policy")
		p := engine.FederationPolicy{
			ID: r.text("uid"), OwnerID: r.owner.id, OwnerName: r.owner.text("applicationId"), OwnerLabel: r.owner.text("displayName"),
			Issuer: oidc.text("issuer"), Subject: oidc.text("subject"), SubjectClaim: cmp.Or(oidc.text("subject_claim"), "sub"),
			Audiences: append([]string{}, oidc.texts("audiences")...),
			OwnKeys:   !absent(oidc.member("jwks_uri")) || !absent(oidc.member("jwks_json")),
		}
		of := r.id("service_principal_id")
		r.must(of == "" || of == p.OwnerID, reasonBadType)
		r.must(p.ID != "" && p.Issuer != "" && (p.OwnerID == "" || p.Subject != ""), reasonMissing)
		if r.reason != "" {
			t.add(r.reason, "a federation policy of %s has no id, issuer or subject that can be read", engine.SafeText(cmp.Or(p.OwnerID, "the account")))
			continue
		}
		policies = append(policies, accountRow{p.OwnerID, p.ID, p})
	}
	return policies, nil
}

const (
	customAppsPath    = "/api/2.0/accounts/{account}/oauth2/custom-app-integrations"
	publishedAppsPath = "/api/2.0/accounts/{account}/oauth2/published-app-integrations"
)

// OAuthApps reads which applications sign people in, and for how long.
func (set) OAuthApps() Collector {
	return Collector{
		Section:   engine.SectionOAuthApps,
		Doc:       "OAuth apps of the account: their scopes, and how long their tokens live",
		Calls:     []string{"GET " + customAppsPath, "GET " + publishedAppsPath},
		Rights:    "account admin",
		Scopes:    []string{"authentication:read"},
		OnRequest: "Ask for it with --with oauth_apps and --account; it takes the rights of an account admin.",
		Order:     84,
		Read:      func(ctx context.Context, c *Client) engine.Section { return readOfAccount(ctx, c, readApps) },
	}
}

func readApps(ctx context.Context, a *accountClient, t *tally) ([]accountRow, *Problem) {
	c := a.forSection(engine.SectionOAuthApps)
	defer c.http.CloseIdleConnections()
	var apps []accountRow
	for _, path := range []string{customAppsPath, publishedAppsPath} {
		rows, problem := pagedRows(ctx, c, a.path(path), "apps", nil, true)
		if problem != nil {
			return nil, problem.hinted("Sign in to the account as an account admin, or leave oauth_apps out of --with.",
				"This account does not answer for OAuth apps: leave oauth_apps out of --with.")
		}
		for _, raw := range rows {
			r := newListRow(raw)
			lives := r.within("token_access_policy")
			minutes := func(key string) int64 {
				n := lives.number(key)
				if n == nil {
					return 0
				}
				r.must(*n > 0, reasonBadType)
				return *n
			}
			scopes := r.texts("scopes")
			app := engine.OAuthApp{
				ID: r.text("integration_id"), Name: r.text("name"), Published: path == publishedAppsPath, Scopes: append([]string{}, scopes...),
				Confidential: r.isTrue("confidential"), SingleUse: lives.isTrue("enable_single_use_refresh_tokens"),
				AccessTTL: minutes("access_token_ttl_in_minutes"), RefreshTTL: minutes("refresh_token_ttl_in_minutes"),
				SessionTTL: minutes("absolute_session_lifetime_in_minutes"),
			}
			r.must(app.ID != "" && app.RefreshTTL != 0 && (app.Published || scopes != nil), reasonMissing)
			if r.reason != "" {
				t.add(r.reason, "an OAuth app of %s has no id, scopes or lifetimes that can be read", path)
				continue
			}
			apps = append(apps, accountRow{"", app.Name + "\x00" + app.ID, app})
		}
	}
	return apps, nil
}

const (
	recipientsPath       = "/api/2.1/unity-catalog/recipients"
	metastorePath        = "/api/2.1/unity-catalog/metastore_summary"
	reasonOwnRecipients  = "only_own_recipients"
	hintRecipientsDenied = "Sign in as a metastore admin, or leave recipients out of --with."
)

// Recipients reads who gets shared data by a token that the platform issued.
func (set) Recipients() Collector {
	return Collector{
		Section:   engine.SectionRecipients,
		Doc:       "recipients of shared data in the workspace's metastore: how they sign in, and how long their tokens live; never a token or its link",
		Calls:     []string{"GET " + metastorePath, "GET " + recipientsPath},
		Rights:    "metastore admin: others are shown their own recipients only",
		Scopes:    []string{"sharing:read", "unity-catalog:read"},
		OnRequest: "Ask for it with --with recipients; it takes the rights of a metastore admin.",
		Order:     86,
		Read:      readRecipients,
	}
}

// readRecipients also finds out whether the caller is shown all of them: the
// platform leaves others' out without a word.
func readRecipients(ctx context.Context, c *Client) engine.Section {
	var metastore struct {
		Owner string `json:"owner"`
	}
	_, problem := c.getJSON(ctx, metastorePath, nil, &metastore)
	var rows []json.RawMessage
	if problem == nil {
		rows, problem = pagedRows(ctx, c, recipientsPath, "recipients", url.Values{"max_results": {"0"}}, true)
	}
	if problem != nil {
		return failed(problem.hinted(hintRecipientsDenied,
			"This workspace has no metastore, or does not share data: leave recipients out of --with."))
	}
	recipients, w := []engine.Recipient{}, windowAt(c.now())
	var t tally
	for i, raw := range rows {
		r := newListRow(raw)
		recipient := engine.Recipient{
			Name: r.text("name"), Authentication: r.text("authentication_type"), Owner: r.text("owner"), Tokens: []engine.RecipientToken{},
			AllowedIPs: append([]string{}, r.within("ip_access_list").texts("allowed_ip_addresses")...),
		}
		tokens, listed := elements(r.member("tokens"))
		r.must(listed || absent(r.member("tokens")), reasonBadType)
		r.must(recipient.Name != "" && recipient.Authentication != "" && (recipient.Authentication != "TOKEN" || listed), reasonMissing)
		for _, raw := range tokens {
			token := newListRow(raw)
			id, created, given := token.text("id"), token.number("created_at"), token.number("expiration_time")
			token.must(id != "" && created != nil, reasonBadType)
			if token.reason != "" {
				r.must(false, reasonBadType)
				break
			}
			expires := int64(0)
			if given != nil {
				expires = *given
			}
			r.must(expires == 0 || expires >= *created, reasonBadType)
			r.must(*created >= w.from && *created <= w.now && expires <= w.to, reasonBadTimestamp)
			recipient.Tokens = append(recipient.Tokens, engine.RecipientToken{ID: id, Created: *created, Expires: expires})
		}
		if r.reason != "" {
			t.add(r.reason, "recipient %d has no name, kind, addresses or tokens that can be read", i+1)
			continue
		}
		recipients = append(recipients, recipient)
	}
	me := c.session.me
	coverage := t.coverage(len(recipients))
	if metastore.Owner == "" || metastore.Owner != me.Name && !slices.Contains(me.groups, metastore.Owner) {
		coverage.Status, coverage.Reason, coverage.Hint = engine.Partial, reasonOwnRecipients, hintRecipientsDenied
		coverage.Detail = "the caller is no admin of the metastore, and is shown its own recipients only"
	}
	slices.SortFunc(recipients, func(a, b engine.Recipient) int { return cmp.Compare(a.Name, b.Name) })
	return engine.Section{Coverage: coverage, Document: document(recipients)}
}
