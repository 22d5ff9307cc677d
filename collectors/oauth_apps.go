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
			return readOfAccount(ctx, c, func(a *Account) *onceList[engine.OAuthApp] { return &a.lists.apps }, readApps)
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
			if problem.Reason == reasonPermission {
				problem.Hint = hintAppsDenied
			}
			return nil, problem.absent(hintAppsAbsent)
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
	o, ok := parseObject(raw)
	if !ok {
		return app, reasonBadType
	}
	app.Published = published
	lives, told := parseObject(o.members["token_access_policy"])
	if !told {
		return app, reasonMissing
	}
	var oks [8]bool
	var confidential, single *bool
	app.ID, oks[0] = asText(o.members["integration_id"])
	app.Name, oks[1] = asText(o.members["name"])
	app.Scopes, oks[2] = asTexts(o.members["scopes"])
	confidential, oks[3] = asBool(o.members["confidential"])
	single, oks[4] = asBool(lives.members["enable_single_use_refresh_tokens"])
	for i, minutes := range []*int64{&app.AccessTTL, &app.RefreshTTL, &app.SessionTTL} {
		key := []string{"access_token_ttl_in_minutes", "refresh_token_ttl_in_minutes", "absolute_session_lifetime_in_minutes"}[i]
		oks[5+i] = absent(lives.members[key])
		if !oks[5+i] {
			*minutes, oks[5+i] = asInt(lives.members[key])
			oks[5+i] = oks[5+i] && *minutes > 0
		}
	}
	switch {
	case oks != [8]bool{true, true, true, true, true, true, true, true}:
		return app, reasonBadType
	case app.ID == "", app.RefreshTTL == 0, !published && app.Scopes == nil:
		return app, reasonMissing
	}
	app.Confidential = confidential != nil && *confidential
	app.SingleUse = single != nil && *single
	if app.Scopes == nil {
		app.Scopes = []string{}
	}
	return app, ""
}
