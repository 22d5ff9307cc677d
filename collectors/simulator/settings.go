package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Values of the restrict_workspace_admins setting.
const (
	AllowAll                 = "ALLOW_ALL"
	RestrictTokensAndJobRuns = "RESTRICT_TOKENS_AND_JOB_RUN_AS"
)

// restrictSetting is the restrict_workspace_admins setting; every write moves
// its version and with it the etag.
type restrictSetting struct {
	status            string
	disableTagCreator bool
	version           int
}

func (s restrictSetting) etag() string { return fmt.Sprintf("simulated-etag-%d", s.version) }

func (s restrictSetting) doc() obj {
	inner := obj{"status": s.status}
	if s.disableTagCreator {
		inner["disable_gov_tag_creation"] = true
	}
	return obj{"restrict_workspace_admins": inner, "etag": s.etag(), "setting_name": "default"}
}

func getRestrict(c *call) *answer { return ok(c.ws.restrict.doc()) }

// staleEtag is the conflict that carries the fresh etag, where the real service
// puts it.
func staleEtag(fresh string) *answer {
	return jsonAnswer(http.StatusConflict, "application/json", obj{
		"error_code": "RESOURCE_CONFLICT",
		"message":    "The etag is missing or out of date.",
		"details": []obj{{
			"@type":    "type.googleapis.com/google.rpc.ErrorInfo",
			"reason":   "SETTINGS_ETAG_MISMATCH",
			"domain":   "settings",
			"metadata": obj{"etag": fresh},
		}},
	})
}

func (c *call) mayRestrict() *answer {
	if c.who.principal.accountAdmin {
		return nil
	}
	return c.forbid("Only account admins who are members of the workspace may change restrict_workspace_admins.")
}

func patchRestrict(c *call) *answer {
	if denied := c.mayRestrict(); denied != nil {
		return denied
	}
	var body struct {
		Mask    string `json:"field_mask"`
		Setting struct {
			Etag     string `json:"etag"`
			Restrict struct {
				Status            string `json:"status"`
				DisableTagCreator bool   `json:"disable_gov_tag_creation"`
			} `json:"restrict_workspace_admins"`
		} `json:"setting"`
	}
	if bad := c.decode(&body); bad != nil {
		return bad
	}
	next := c.ws.restrict
	if body.Setting.Etag != next.etag() {
		return staleEtag(next.etag())
	}
	wanted := body.Setting.Restrict
	for field := range strings.SplitSeq(body.Mask, ",") {
		switch field {
		case "restrict_workspace_admins.status":
			next.status = wanted.Status
		case "restrict_workspace_admins.disable_gov_tag_creation":
			next.disableTagCreator = wanted.DisableTagCreator
		case "restrict_workspace_admins", "*":
			next.status, next.disableTagCreator = wanted.Status, wanted.DisableTagCreator
		default:
			return invalid("field_mask: unknown field %q", field)
		}
	}
	if !slices.Contains([]string{AllowAll, RestrictTokensAndJobRuns}, next.status) {
		return invalid("status: unknown value %q", next.status)
	}
	next.version++
	c.ws.restrict = next
	return ok(next.doc())
}

// deleteRestrict goes back to the default.
func deleteRestrict(c *call) *answer {
	if denied := c.mayRestrict(); denied != nil {
		return denied
	}
	if c.request.URL.Query().Get("etag") != c.ws.restrict.etag() {
		return staleEtag(c.ws.restrict.etag())
	}
	c.ws.restrict = restrictSetting{status: AllowAll, version: c.ws.restrict.version + 1}
	return ok(obj{"etag": c.ws.restrict.etag()})
}

// ipList is an IP access list with what the service adds.
type ipList struct {
	IPList
	id      string
	created int64
	by      int64
}

func (c *call) ipListDoc(l ipList) obj {
	return obj{
		"list_id": l.id, "label": l.Label, "list_type": l.Type, "ip_addresses": l.Addresses,
		"address_count": len(l.Addresses), "enabled": l.Enabled,
		"created_at": c.int64(l.created), "created_by": c.int64(l.by),
		"updated_at": c.int64(l.created), "updated_by": c.int64(l.by),
	}
}

func listIPAccess(c *call) *answer {
	rows := []obj{}
	for _, l := range shown(c, c.ws.ipLists, func(l ipList) []string { return []string{l.id, l.Label} }) {
		rows = append(rows, c.ipListDoc(l))
	}
	return ok(obj{"ip_access_lists": rows})
}

func getIPAccess(c *call) *answer {
	for _, l := range c.ws.ipLists {
		if l.id == c.vars["id"] {
			return ok(obj{"ip_access_list": c.ipListDoc(l)})
		}
	}
	return gone("IP access list %s does not exist", c.vars["id"])
}
