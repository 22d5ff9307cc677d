package patrol.token.expired_test

import data.patrol.lib.fixtures
import data.patrol.token.expired

test_expired_fires if {
	findings := expired.deny with input as fixtures.token({"token": {"expired": true}}, {})
	findings == {"expired on 2026-12-01"}
}

test_live_is_silent if {
	findings := expired.deny with input as fixtures.token({}, {})
	findings == set()
}

test_unknown_is_silent if {
	findings := expired.deny with input as fixtures.without(fixtures.token({}, {}), ["token/expired"])
	findings == set()
}
