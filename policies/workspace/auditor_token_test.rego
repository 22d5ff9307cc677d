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

test_unknown_is_silent if {
	findings := auditor_token.deny with input as fixtures.without(fixtures.workspace({}, {}), ["workspace/caller"])
	findings == set()
}
