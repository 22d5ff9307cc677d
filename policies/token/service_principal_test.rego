package patrol.token.service_principal_test

import data.patrol.lib.fixtures
import data.patrol.token.service_principal

test_service_principal_fires if {
	findings := service_principal.deny with input as fixtures.token({"owner": {"kind": "service_principal"}}, {})
	findings == {"owner is a service principal"}
}

test_user_is_silent if {
	findings := service_principal.deny with input as fixtures.token({"creator": {"kind": "service_principal"}}, {})
	findings == set()
}

test_unread_directory_is_silent if {
	findings := service_principal.deny with input as fixtures.without(fixtures.token({}, {}), ["owner/kind"])
	findings == set()
}
