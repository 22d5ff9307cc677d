package patrol.token.lifetime_over_limit_test

import data.patrol.lib.fixtures
import data.patrol.token.lifetime_over_limit

test_one_day_over_fires if {
	findings := lifetime_over_limit.deny with input as fixtures.token({"token": {"lifetime_days": 91}}, {})
	findings == {{
		"msg": "lives 91 days, the workspace allows 90",
		"created_at": "2026-10-02T00:00:00Z",
		"expires_at": "2026-12-01T00:00:00Z",
	}}
}

test_at_limit_is_silent if {
	findings := lifetime_over_limit.deny with input as fixtures.token({"token": {"lifetime_days": 90}}, {})
	findings == set()
}

test_lower_limit_fires if {
	subject := fixtures.token({"workspace": {"max_lifetime_days": 30}}, {})
	findings := lifetime_over_limit.deny with input as subject
	{finding.msg | some finding in findings} == {"lives 60 days, the workspace allows 30"}
}

test_endless_fires if {
	endless := fixtures.token({"token": {"never_expires": true}}, {})
	subject := fixtures.without(endless, ["token/lifetime_days", "token/expires_at"])
	findings := lifetime_over_limit.deny with input as subject
	findings == {"never expires, the workspace allows 90 days"}
}

test_unknown_lifetime_is_silent if {
	subject := fixtures.without(fixtures.token({}, {}), ["token/lifetime_days", "token/never_expires"])
	findings := lifetime_over_limit.deny with input as subject
	findings == set()
}

test_unknown_limit_is_silent if {
	subject := fixtures.without(
		fixtures.token({"token": {"lifetime_days": 365, "never_expires": true}}, {}),
		["workspace/max_lifetime_days", "workspace/lifetime_limited"],
	)
	findings := lifetime_over_limit.deny with input as subject
	findings == set()
}

test_limited_applies if lifetime_over_limit.applicable with input as fixtures.token({}, {})

test_unlimited_does_not_apply if {
	subject := fixtures.token({"workspace": {"lifetime_limited": false, "max_lifetime_days": 730}}, {})
	not lifetime_over_limit.applicable with input as subject
}

test_unknown_limit_applies if {
	subject := fixtures.without(fixtures.token({}, {}), ["workspace/lifetime_limited"])
	lifetime_over_limit.applicable with input as subject
}
