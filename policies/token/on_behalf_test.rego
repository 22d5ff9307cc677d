package patrol.token.on_behalf_test

import data.patrol.lib.fixtures
import data.patrol.token.on_behalf

test_on_behalf_fires if {
	subject := fixtures.token({"token": {"on_behalf": true, "owner_id": "9"}}, {})
	findings := on_behalf.deny with input as subject
	findings == {"made by principal 7000000000000000001 for 9"}
}

test_own_is_silent if {
	findings := on_behalf.deny with input as fixtures.token({}, {})
	findings == set()
}

test_unknown_creator_is_silent if {
	subject := fixtures.without(fixtures.token({}, {}), ["token/on_behalf", "token/creator_id"])
	findings := on_behalf.deny with input as subject
	findings == set()
}
