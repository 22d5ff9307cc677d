package patrol.workspace.auditor_token_test

import data.patrol.lib.fixtures
import data.patrol.workspace.auditor_token

test_token_fires if {
	findings := auditor_token.deny with input as fixtures.workspace({"caller": {"auth_type": "pat"}}, {})
	findings == {"patrol signs in with a personal access token"}
}

test_oauth_is_silent if {
	findings := auditor_token.deny with input as fixtures.workspace({}, {})
	findings == set()
}

test_writing_scopes_fire if {
	scopes := ["authentication", "openid", "scim:read", "sql:read:restricted-query", "workspace:manage"]
	findings := auditor_token.deny with input as fixtures.workspace({"caller": {"scopes": scopes}}, {})
	findings == {{
		"msg": "patrol signs in with a credential that may write: its scopes include authentication, workspace:manage",
		"scopes": scopes,
	}}
}

test_all_apis_fires if {
	findings := auditor_token.deny with input as fixtures.workspace({"caller": {"scopes": ["all-apis"]}}, {})
	count(findings) == 1
}

test_unknown_is_silent if {
	findings := auditor_token.deny with input as fixtures.without(fixtures.workspace({}, {}), ["workspace/caller"])
	findings == set()
}
