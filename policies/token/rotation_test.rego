package patrol.token.rotation_test

import data.patrol.lib.fixtures
import data.patrol.token.rotation

params := {"max_age_days": 90}

test_one_day_over_fires if {
	findings := rotation.deny with input as fixtures.token({"token": {"age_days": 91}}, params)
	findings == {{
		"msg": "91 days old, limit 90",
		"created_at": "2026-10-02T00:00:00Z",
	}}
}

test_at_limit_is_silent if {
	findings := rotation.deny with input as fixtures.token({"token": {"age_days": 90}}, params)
	findings == set()
}

test_lower_limit_fires if {
	findings := rotation.deny with input as fixtures.token({}, {"max_age_days": 29})
	{finding.msg | some finding in findings} == {"30 days old, limit 29"}
}

test_unknown_age_is_silent if {
	subject := fixtures.without(fixtures.token({}, params), ["token/age_days", "token/created_at"])
	findings := rotation.deny with input as subject
	findings == set()
}
