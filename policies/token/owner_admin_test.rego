package patrol.token.owner_admin_test

import data.patrol.lib.fixtures
import data.patrol.token.owner_admin

test_admin_fires if {
	findings := owner_admin.deny with input as fixtures.token({"owner": {"admin": true}}, {})
	findings == {"owner is an admin"}
}

test_other_is_silent if {
	findings := owner_admin.deny with input as fixtures.token({"creator": {"admin": true}}, {})
	findings == set()
}

test_unread_directory_is_silent if {
	findings := owner_admin.deny with input as fixtures.without(fixtures.token({}, {}), ["owner/admin"])
	findings == set()
}
