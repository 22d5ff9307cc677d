package patrol.token.owner_inactive_test

import data.patrol.lib.fixtures
import data.patrol.token.owner_inactive

test_deactivated_fires if {
	findings := owner_inactive.deny with input as fixtures.token({"owner": {"active": false}}, {})
	findings == {"owner is deactivated"}
}

test_deactivated_service_principal_fires if {
	subject := fixtures.token({"owner": {"kind": "service_principal", "active": false}}, {})
	findings := owner_inactive.deny with input as subject
	findings == {"owner is deactivated"}
}

test_active_is_silent if {
	findings := owner_inactive.deny with input as fixtures.token({}, {})
	findings == set()
}

test_missing_is_silent if {
	findings := owner_inactive.deny with input as fixtures.token({"owner": {"kind": "missing", "active": false}}, {})
	findings == set()
}

test_unknown_state_is_silent if {
	findings := owner_inactive.deny with input as fixtures.without(fixtures.token({}, {}), ["owner/active"])
	findings == set()
}
