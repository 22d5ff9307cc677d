package patrol.token.never_used_test

import data.patrol.lib.fixtures
import data.patrol.token.never_used

params := {"max_unused_days": 14}

unused(age) := {"token": {"used": false, "age_days": age, "idle_days": age}}

test_one_day_over_fires if {
	findings := never_used.deny with input as fixtures.token(unused(15), params)
	findings == {"never used in 15 days, limit 14"}
}

test_at_limit_is_silent if {
	findings := never_used.deny with input as fixtures.token(unused(14), params)
	findings == set()
}

test_used_is_silent if {
	findings := never_used.deny with input as fixtures.token({"token": {"idle_days": 80, "age_days": 80}}, params)
	findings == set()
}

test_lower_limit_fires if {
	findings := never_used.deny with input as fixtures.token(unused(1), {"max_unused_days": 0})
	findings == {"never used in 1 day, limit 0"}
}

test_unknown_use_is_silent if {
	subject := fixtures.token(unused(400), params)
	findings := never_used.deny with input as fixtures.without(subject, ["token/used"])
	findings == set()
}
