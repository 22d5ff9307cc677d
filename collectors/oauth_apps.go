package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"patrol/engine"
)

const (
	customAppsPath    = "/api/2.0/accounts/{account}/oauth2/custom-app-integrations"
	publishedAppsPath = "/api/2.0/accounts/{account}/oauth2/published-app-integrations"
	hintApps          = "Ask for it with --with oauth_apps and --account; it takes the rights of an account admin."
	hintAppsDenied    = "Sign in to the account as an account admin, or leave oauth_apps out of --with."
	hintAppsAbsent    = "This account does not answer for OAuth apps: leave oauth_apps out of --with."
)

// OAuthApps reads which applications sign people in, and for how long.
func (set) OAuthApps() Collector {
	return Collector{
		Section:   engine.SectionOAuthApps,
		Doc:       "OAuth apps of the account: their scopes, and how long their tokens live",
		Calls:     []string{"GET " + customAppsPath, "GET " + publishedAppsPath},
		Rights:    "account admin",
		Scopes:    []string{"authentication:read"},
		OnRequest: hintApps,
		Order:     84,
		Read: func(ctx context.Context, c *Client) engine.Section {
			return readOfAccount(ctx, c, func(l *accountLists) *accountList[engine.OAuthApp] { return &l.apps }, readApps, nil)
		},
	}
}

func readApps(ctx context.Context, a *accountClient, t *tally) ([]engine.OAuthApp, *Problem) {
	c := a.forSection(engine.SectionOAuthApps)
	defer c.http.CloseIdleConnections()
	var apps []engine.OAuthApp
	for _, kind := range []string{"custom", "published"} {
		rows, problem := pagedRows(ctx, c, "/api/2.0/accounts/"+a.id+"/oauth2/"+kind+"-app-integrations", "apps", nil, true)
		if problem != nil {
			return nil, problem.hinted(hintAppsDenied, hintAppsAbsent)
		}
		for _, raw := range rows {
			app, reason := readApp(raw, kind == "published")
			if reason != "" {
				t.add(reason, "a %s OAuth app has no id, scopes or lifetimes that can be read", kind)
				continue
			}
			apps = append(apps, app)
		}
	}
	slices.SortFunc(apps, func(a, b engine.OAuthApp) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return apps, nil
}

func readApp(raw json.RawMessage, published bool) (app engine.OAuthApp, reason string) {
	r := newListRow(raw)
	lives := r.within("token_access_policy")
	minutes := func(key string) int64 {
		n := lives.number(key)
		r.must(n == nil || *n > 0, reasonBadType)
		if n == nil {
			return 0
		}
		return *n
	}
	scopes, confidential, single := r.texts("scopes"), r.truth("confidential"), lives.truth("enable_single_use_refresh_tokens")
	app = engine.OAuthApp{
		ID: r.text("integration_id"), Name: r.text("name"), Published: published, Scopes: append([]string{}, scopes...),
		Confidential: confidential != nil && *confidential, SingleUse: single != nil && *single,
		AccessTTL: minutes("access_token_ttl_in_minutes"), RefreshTTL: minutes("refresh_token_ttl_in_minutes"), SessionTTL: minutes("absolute_session_lifetime_in_minutes"),
	}
	r.must(app.ID != "" && app.RefreshTTL != 0 && (published || scopes != nil), reasonMissing)
	return app, r.reason
}
