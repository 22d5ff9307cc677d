package patrol.workspace.admins_mint_test

import data.patrol.lib.fixtures
import data.patrol.workspace.admins_mint

test_allow_all_fires if {
	subject := fixtures.workspace({"restrict_workspace_admins": {"status": "ALLOW_ALL"}}, {})
	findings := admins_mint.deny with input as subject
	findings == {"restrict_workspace_admins is ALLOW_ALL"}
}

test_restricted_is_silent if {
	findings := admins_mint.deny with input as fixtures.workspace({}, {})
	findings == set()
}

test_unread_is_silent if {
	subject := fixtures.without(fixtures.workspace({}, {}), ["workspace/restrict_workspace_admins"])
	findings := admins_mint.deny with input as subject
	findings == set()
}
