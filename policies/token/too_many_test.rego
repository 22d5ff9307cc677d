package patrol.token.too_many_test

import data.patrol.lib.fixtures
import data.patrol.token.too_many

params := {"max_live_tokens": 5}

test_one_over_fires if {
	findings := too_many.deny with input as fixtures.token({"owner": {"live_tokens": 6}}, params)
	findings == {"owner holds 6 live tokens, limit 5"}
}

test_at_limit_is_silent if {
	findings := too_many.deny with input as fixtures.token({"owner": {"live_tokens": 5}}, params)
	findings == set()
}

test_lower_limit_fires if {
	findings := too_many.deny with input as fixtures.token({"owner": {"live_tokens": 2}}, {"max_live_tokens": 1})
	findings == {"owner holds 2 live tokens, limit 1"}
}

test_unknown_count_is_silent if {
	findings := too_many.deny with input as fixtures.without(fixtures.token({}, params), ["owner/live_tokens"])
	findings == set()
}
