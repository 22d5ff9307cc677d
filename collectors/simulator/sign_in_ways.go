package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// signInWays are routes about how else than by tokens somebody signs in.
func signInWays() []route {
	const acct = "/api/2.0/accounts/{account}"
	return []route{
		{"GET", acct + "/federationPolicies", owner, listAccountFederation},
		{"GET", acct + "/servicePrincipals/{id}/federationPolicies", owner, listFederation},
		{"GET", acct + "/oauth2/custom-app-integrations", owner, listCustomApps},
		{"GET", acct + "/oauth2/published-app-integrations", owner, listPublishedApps},
		{"GET", "/api/2.1/unity-catalog/metastore_summary", caller, metastoreSummary},
		{"GET", "/api/2.1/unity-catalog/recipients", caller, listRecipients},
	}
}

// page is a page of rows; the service leaves an empty list out.
func page(c *call, key string, rows []obj, sizeParam string) *answer {
	query := c.request.URL.Query()
	rows = shown(c, rows, func(row obj) []string { return []string{fmt.Sprint(row["uid"], row["name"])} })
	from, err := strconv.Atoi("0" + query.Get("page_token"))
	if err != nil || from > len(rows) {
		return invalid("page_token is not valid")
	}
	size, err := strconv.Atoi(query.Get(sizeParam))
	if err != nil || size <= 0 {
		size = 100
	}
	if c.opts.MaxPage > 0 {
		size = min(size, c.opts.MaxPage)
	}
	to := min(from+size, len(rows))
	doc := obj{}
	if to > from {
		doc[key] = rows[from:to]
	}
	if to < len(rows) {
		doc["next_page_token"] = strconv.Itoa(to)
	}
	return ok(doc)
}

func (c *call) federation(name string, owner int64, oidc obj) obj {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/federation/%d/%s", c.opts.Seed, owner, name))
	made := c.born.UTC().Add(-40 * 24 * time.Hour).Format(time.RFC3339)
	path := "accounts/" + c.id
	doc := obj{"uid": hex.EncodeToString(sum[:8]), "policy_id": name, "oidc_policy": oidc, "create_time": made, "update_time": made}
	if owner != 0 {
		path += "/servicePrincipals/" + strconv.FormatInt(owner, 10)
		doc["service_principal_id"] = c.int64(owner)
	}
	doc["name"] = path + "/federationPolicies/" + name
	return doc
}

func listAccountFederation(c *call) *answer {
	return page(c, "policies", []obj{c.federation("workforce", 0, obj{
		"issuer": "https://login.example.com", "audiences": []string{"databricks"}, "subject_claim": "preferred_username",
	})}, "page_size")
}

// listFederation: every third service principal has a policy for a pipeline; of
// those every second admits any branch of its repository.
func listFederation(c *call) *answer {
	id, err := strconv.ParseInt(c.vars["id"], 10, 64)
	p := c.directory.byID[id]
	if err != nil || p == nil || !p.service {
		return gone("Service principal %s does not exist", c.vars["id"])
	}
	var rows []obj
	if sum := sha256.Sum256(fmt.Appendf(nil, "%d/pipelines/%d", c.opts.Seed, id)); sum[0]%3 == 0 {
		subject := "repo:example-org/etl:environment:prod"
		if sum[1]%2 == 0 {
			subject = "repo:example-org/*"
		}
		rows = append(rows, c.federation("github", id, obj{
			"issuer": "https://token.actions.githubusercontent.com", "audiences": []string{c.id}, "subject": subject,
		}))
	}
	return page(c, "policies", rows, "page_size")
}

func (c *call) app(id, name string, scopes []string, confidential bool, refreshDays int, single bool) obj {
	return obj{
		"integration_id": id, "client_id": id + "-client", "name": name, "confidential": confidential, "scopes": scopes,
		"redirect_urls": []string{"https://app.example.com/callback"}, "create_time": c.born.UTC().Format(time.RFC3339),
		"token_access_policy": obj{
			"access_token_ttl_in_minutes": 60, "refresh_token_ttl_in_minutes": refreshDays * 24 * 60,
			"enable_single_use_refresh_tokens": single,
		},
	}
}

func listCustomApps(c *call) *answer {
	return page(c, "apps", []obj{
		c.app("app-1", "Field reports", []string{"sql", "offline_access"}, true, 7, true),
		c.app("app-2", "Legacy sync", []string{"all-apis", "offline_access"}, false, 90, false),
	}, "page_size")
}

func listPublishedApps(c *call) *answer {
	return page(c, "apps", []obj{{
		"integration_id": "app-3", "app_id": "power-bi", "name": "Power BI",
		"token_access_policy": obj{"access_token_ttl_in_minutes": 60, "refresh_token_ttl_in_minutes": 7 * 24 * 60},
	}}, "page_size")
}

func metastoreSummary(c *call) *answer {
	return ok(obj{"metastore_id": "22222222-0000-4000-8000-000000000001", "name": "metastore", "owner": c.ws.admin.name})
}

// listRecipients answers whom the caller may see: the metastore's admin all, anybody else its own.
func listRecipients(c *call) *answer {
	now := c.born.UTC().Truncate(time.Hour)
	token := func(id string, age, life int) []obj {
		row := obj{"id": id, "created_at": c.int64(now.AddDate(0, 0, -age).UnixMilli()), "activation_url": "https://share.example.com/activate?" + id}
		if life > 0 {
			row["expiration_time"] = c.int64(now.AddDate(0, 0, life-age).UnixMilli())
		}
		return []obj{row}
	}
	rows := []obj{
		{"name": "partner", "authentication_type": "TOKEN", "tokens": token("r1", 10, 60), "ip_access_list": obj{"allowed_ip_addresses": []string{"192.0.2.0/24"}}},
		{"name": "supplier", "authentication_type": "TOKEN", "tokens": token("r2", 300, 0)},
		{"name": "sister", "authentication_type": "DATABRICKS"},
	}
	if c.who.principal != c.ws.admin {
		rows = nil
	}
	return page(c, "recipients", rows, "max_results")
}
