package patrol.secret.lifetime_test

import data.patrol.lib.fixtures
import data.patrol.secret.lifetime

params := {"max_lifetime_days": 730}

test_one_day_over_fires if {
	findings := lifetime.deny with input as fixtures.secret({"lifetime_days": 731}, params)
	findings == {{
		"msg": "secret lives 731 days, limit 730",
		"created_at": "2026-10-02T00:00:00Z",
		"expires_at": "2027-10-02T00:00:00Z",
	}}
}

test_at_limit_is_silent if {
	findings := lifetime.deny with input as fixtures.secret({"lifetime_days": 730}, params)
	findings == set()
}

test_endless_fires if {
	endless := fixtures.without(
		fixtures.secret({"never_expires": true}, params),
		["secret/lifetime_days", "secret/expires_at", "secret/expires_in_days"],
	)
	findings := lifetime.deny with input as endless
	findings == {"secret never expires"}
}

test_lower_limit_fires if {
	findings := lifetime.deny with input as fixtures.secret({}, {"max_lifetime_days": 364})
	count(findings) == 1
}

test_active_applies if {
	lifetime.applicable with input as fixtures.secret({}, params)
}

test_inactive_does_not_apply if {
	not lifetime.applicable with input as fixtures.secret({"status": "INACTIVE"}, params)
}

test_expired_does_not_apply if {
	not lifetime.applicable with input as fixtures.secret({"expired": true}, params)
}
