package patrol.workspace.recipient_tokens_test

import data.patrol.lib.fixtures
import data.patrol.workspace.recipient_tokens

params := {"max_lifetime_days": 90}

has(token) := fixtures.workspace({"recipients": [{"name": "partner", "authentication_type": "TOKEN", "tokens": [token]}]}, params)

test_no_end_fires if {
	findings := recipient_tokens.deny with input as has({"id": "r1", "created_ms": 1790899200000})
	findings == {{"msg": "a token of recipient partner has no expiration time", "recipients": "partner"}}
}

test_long_life_fires if {
	findings := recipient_tokens.deny with input as has({"id": "r1", "created_ms": 1790899200000, "expires_ms": 1798761600000})
	findings == {{"msg": "a token of recipient partner lives 91 days, limit 90", "recipients": "partner"}}
}

test_at_limit_is_silent if {
	findings := recipient_tokens.deny with input as has({"id": "r1", "created_ms": 1790899200000, "expires_ms": 1798675200000})
	findings == set()
}

test_expired_is_silent if {
	findings := recipient_tokens.deny with input as has({"id": "r1", "created_ms": 1600000000000, "expires_ms": 1790899200000})
	findings == set()
}
