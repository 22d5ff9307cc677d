package patrol.token.never_expires_test

import data.patrol.lib.fixtures
import data.patrol.token.never_expires

test_endless_fires if {
	findings := never_expires.deny with input as fixtures.token({"token": {"never_expires": true}}, {})
	findings == {"never expires"}
}

test_ending_is_silent if {
	findings := never_expires.deny with input as fixtures.token({}, {})
	findings == set()
}

test_unknown_is_silent if {
	subject := fixtures.token({"token": {"never_expires": true}}, {})
	findings := never_expires.deny with input as fixtures.without(subject, ["token/never_expires"])
	findings == set()
}
