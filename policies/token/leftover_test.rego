package patrol.token.leftover_test

import data.patrol.lib.fixtures
import data.patrol.token.leftover

params := {"in_use_days": 7}

replaced(idle) := {"token": {
	"superseded_by": "0123456789abcdef",
	"superseded_by_created_at": "2026-10-20T10:00:00Z",
	"superseded_by_idle_days": idle,
}}

test_at_limit_fires if {
	findings := leftover.deny with input as fixtures.token(replaced(7), params)
	findings == {"replaced on 2026-10-20 by token 01234567…, which is in use"}
}

test_newer_one_out_of_use_is_silent if {
	findings := leftover.deny with input as fixtures.token(replaced(8), params)
	findings == set()
}

test_changed_limit_fires if {
	findings := leftover.deny with input as fixtures.token(replaced(8), {"in_use_days": 8})
	count(findings) == 1
}

test_without_a_newer_one_is_silent if {
	findings := leftover.deny with input as fixtures.token({}, params)
	findings == set()
}
