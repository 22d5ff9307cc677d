package patrol.secret.age_test

import data.patrol.lib.fixtures
import data.patrol.secret.age

params := {"max_age_days": 365}

test_one_day_over_fires if {
	findings := age.deny with input as fixtures.secret({"age_days": 366}, params)
	findings == {{
		"msg": "secret is 366 days old, limit 365",
		"created_at": "2026-10-02T00:00:00Z",
	}}
}

test_at_limit_is_silent if {
	findings := age.deny with input as fixtures.secret({"age_days": 365}, params)
	findings == set()
}

test_lower_limit_fires if {
	findings := age.deny with input as fixtures.secret({}, {"max_age_days": 29})
	count(findings) == 1
}

test_active_applies if {
	age.applicable with input as fixtures.secret({}, params)
}

test_inactive_does_not_apply if {
	not age.applicable with input as fixtures.secret({"status": "INACTIVE"}, params)
}

test_expired_does_not_apply if {
	not age.applicable with input as fixtures.secret({"expired": true}, params)
}
