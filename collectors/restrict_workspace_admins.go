package collectors

import (
	"context"

	"patrol/engine"
)

const (
	restrictPath                          = "/api/2.0/settings/types/restrict_workspace_admins/names/default"
	sectionRestrict    engine.SectionName = "restrict_workspace_admins"
	hintRestrictAbsent                    = "This workspace does not have the setting restrict_workspace_admins: whether admins may make tokens for any service principal is not known."
)

// RestrictWorkspaceAdmins reads whether workspace admins may make tokens in
// the name of any service principal.
func (set) RestrictWorkspaceAdmins() Collector {
	return Collector{
		Section: sectionRestrict,
		Doc:     "whether workspace admins may make tokens for any service principal",
		Calls:   []string{"GET " + restrictPath},
		Rights:  "workspace admin",
		Scopes:  []string{"settings:read"},
		Order:   70,
		Read:    readRestrictWorkspaceAdmins,
	}
}

func readRestrictWorkspaceAdmins(ctx context.Context, c *Client) engine.Section {
	var answer struct {
		Setting *struct {
			Status     string `json:"status"`
			TagsDenied bool   `json:"disable_gov_tag_creation"`
		} `json:"restrict_workspace_admins"`
	}
	if _, problem := c.getJSON(ctx, restrictPath, nil, &answer); problem != nil {
		return failed(problem.hinted("", hintRestrictAbsent))
	}
	if answer.Setting == nil || answer.Setting.Status != "ALLOW_ALL" && answer.Setting.Status != "RESTRICT_TOKENS_AND_JOB_RUN_AS" {
		return failed(badBody("GET %s: the answer tells no status that patrol knows", restrictPath))
	}
	return engine.Section{
		Coverage: engine.Coverage{Status: engine.Complete, Count: 1},
		Document: document(map[string]any{"status": answer.Setting.Status, "disable_gov_tag_creation": answer.Setting.TagsDenied}),
	}
}
