package patrol.workspace.pats_banned_test

import data.patrol.lib.fixtures
import data.patrol.workspace.pats_banned

params := {"label": "no-pat", "values": ["true"]}

banned := {"labels": {"no-pat": "true"}}

test_enabled_fires if {
	findings := pats_banned.deny with input as fixtures.workspace(banned, params)
	findings == {"tokens are enabled, the workspace has no-pat=true"}
}

test_disabled_is_silent if {
	subject := fixtures.workspace(object.union(banned, {"pats_enabled": false}), params)
	findings := pats_banned.deny with input as subject
	findings == set()
}

test_label_of_choice_fires if {
	subject := fixtures.workspace({"labels": {"auth": "OAuth"}}, {"label": "auth", "values": ["oauth", "sso"]})
	findings := pats_banned.deny with input as subject
	findings == {"tokens are enabled, the workspace has auth=OAuth"}
	pats_banned.applicable with input as subject
}

test_unknown_setting_is_silent if {
	subject := fixtures.without(fixtures.workspace(banned, params), ["workspace/pats_enabled"])
	findings := pats_banned.deny with input as subject
	findings == set()
}

test_label_applies if {
	every value in ["true", "TRUE"] {
		pats_banned.applicable with input as fixtures.workspace({"labels": {"no-pat": value}}, params)
	}
}

test_other_value_does_not_apply if {
	not pats_banned.applicable with input as fixtures.workspace({"labels": {"no-pat": "false"}}, params)
}

test_no_label_does_not_apply if {
	not pats_banned.applicable with input as fixtures.workspace({}, params)
}

# Tags of Azure come in lower case, whatever the portal shows.
test_label_in_any_letter_case if {
	subject := fixtures.workspace({"labels": {"no-pat": "true"}}, {"label": "No-PAT", "values": ["true"]})
	pats_banned.applicable with input as subject
	findings := pats_banned.deny with input as subject
	findings == {"tokens are enabled, the workspace has no-pat=true"}
}
