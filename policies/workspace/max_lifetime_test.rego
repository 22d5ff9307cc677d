package patrol.workspace.max_lifetime_test

import data.patrol.lib.fixtures
import data.patrol.workspace.max_lifetime

params := {"max_lifetime_days": 90}

test_one_day_over_fires if {
	findings := max_lifetime.deny with input as fixtures.workspace({"max_lifetime_days": 91}, params)
	findings == {"limit 91 days, want at most 90"}
}

test_no_limit_fires if {
	subject := fixtures.workspace({"max_lifetime_days": 730, "lifetime_limited": false}, params)
	findings := max_lifetime.deny with input as subject
	findings == {"no limit set (platform default 730 days)"}
}

test_at_limit_is_silent if {
	findings := max_lifetime.deny with input as fixtures.workspace({"max_lifetime_days": 90}, params)
	findings == set()
}

test_no_limit_is_silent_where_the_platform_suffices if {
	subject := fixtures.workspace({"max_lifetime_days": 730, "lifetime_limited": false}, {"max_lifetime_days": 730})
	findings := max_lifetime.deny with input as subject
	findings == set()
}

test_lower_limit_fires if {
	findings := max_lifetime.deny with input as fixtures.workspace({}, {"max_lifetime_days": 30})
	findings == {"limit 90 days, want at most 30"}
}

test_unknown_limit_is_silent if {
	subject := fixtures.without(
		fixtures.workspace({"max_lifetime_days": 730}, params),
		["workspace/max_lifetime_days", "workspace/lifetime_limited"],
	)
	findings := max_lifetime.deny with input as subject
	findings == set()
}
