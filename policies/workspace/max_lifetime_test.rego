package patrol.workspace.max_lifetime_test

import data.patrol.lib.fixtures
import data.patrol.workspace.max_lifetime

params := {"max_lifetime_days": 90}

test_one_day_over_fires if {
	findings := max_lifetime.deny with input as fixtures.workspace({"max_lifetime_days": 91}, params)
	findings == {{
		"msg": "limit 91 days, want at most 90",
		"setting": "maxTokenLifetimeDays",
		"found_days": 91,
		"max_lifetime_days": 90,
	}}
}

test_no_limit_fires if {
	subject := fixtures.workspace({"max_lifetime_days": 730, "lifetime_limited": false}, params)
	findings := max_lifetime.deny with input as subject
	findings == {{
		"msg": "no limit set (platform default 730 days)",
		"setting": "maxTokenLifetimeDays",
		"found_days": 730,
		"max_lifetime_days": 90,
	}}
}

test_at_limit_is_silent if {
	findings := max_lifetime.deny with input as fixtures.workspace({"max_lifetime_days": 90}, params)
	findings == set()
}

test_lower_limit_fires if {
	findings := max_lifetime.deny with input as fixtures.workspace({}, {"max_lifetime_days": 30})
	{finding.msg | some finding in findings} == {"limit 90 days, want at most 30"}
}

test_unknown_limit_is_silent if {
	subject := fixtures.without(
		fixtures.workspace({"max_lifetime_days": 730}, params),
		["workspace/max_lifetime_days", "workspace/lifetime_limited"],
	)
	findings := max_lifetime.deny with input as subject
	findings == set()
}
