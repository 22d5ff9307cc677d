package patrol.token.lifetime_test

import data.patrol.lib.fixtures
import data.patrol.token.lifetime

params := {"max_lifetime_days": 90}

test_one_day_over_fires if {
	findings := lifetime.deny with input as fixtures.token({"token": {"lifetime_days": 91}}, params)
	findings == {{
		"msg": "lives 91 days, limit 90",
		"created_at": "2026-10-02T00:00:00Z",
		"expires_at": "2026-12-01T00:00:00Z",
	}}
}

test_at_limit_is_silent if {
	findings := lifetime.deny with input as fixtures.token({"token": {"lifetime_days": 90}}, params)
	findings == set()
}

test_endless_is_silent if {
	endless := fixtures.token({"token": {"never_expires": true}}, params)
	findings := lifetime.deny with input as fixtures.without(endless, ["token/lifetime_days", "token/expires_at"])
	findings == set()
}

test_lower_limit_fires if {
	findings := lifetime.deny with input as fixtures.token({}, {"max_lifetime_days": 30})
	{finding.msg | some finding in findings} == {"lives 60 days, limit 30"}
}

test_higher_limit_is_silent if {
	findings := lifetime.deny with input as fixtures.token({"token": {"lifetime_days": 365}}, {"max_lifetime_days": 365})
	findings == set()
}
