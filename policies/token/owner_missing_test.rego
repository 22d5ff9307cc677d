package patrol.token.owner_missing_test

import data.patrol.lib.fixtures
import data.patrol.token.owner_missing

test_missing_fires if {
	findings := owner_missing.deny with input as fixtures.token({"owner": {"kind": "missing", "active": false}}, {})
	findings == {"owner 7000000000000000001 is not in the directory"}
}

test_known_is_silent if {
	findings := owner_missing.deny with input as fixtures.token({}, {})
	findings == set()
}

test_unread_directory_is_silent if {
	findings := owner_missing.deny with input as fixtures.without(fixtures.token({}, {}), ["owner/kind"])
	findings == set()
}
