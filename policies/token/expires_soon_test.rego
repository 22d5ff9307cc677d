package patrol.token.expires_soon_test

import data.patrol.lib.fixtures
import data.patrol.token.expires_soon

params := {"warn_days": 14, "in_use_days": 7}

ending(days, idle) := {"token": {"expires_in_days": days, "idle_days": idle}}

test_at_limits_fires if {
	findings := expires_soon.deny with input as fixtures.token(ending(14, 7), params)
	findings == {"expires on 2026-12-01 (in 14 days), last used on 2026-10-31"}
}

test_last_day_fires if {
	findings := expires_soon.deny with input as fixtures.token(ending(0, 0), params)
	findings == {"expires on 2026-12-01 (in less than a day), last used on 2026-10-31"}
}

test_one_day_more_is_silent if {
	findings := expires_soon.deny with input as fixtures.token(ending(15, 0), params)
	findings == set()
}

test_out_of_use_is_silent if {
	findings := expires_soon.deny with input as fixtures.token(ending(3, 8), params)
	findings == set()
}

test_never_used_is_silent if {
	# Even with a date, which such a token cannot have.
	findings := expires_soon.deny with input as fixtures.token(
		{"token": {
			"expires_in_days": 3,
			"idle_days": 3,
			"used": false,
		}},
		params,
	)
	findings == set()
}

test_changed_limits_fire if {
	subject := fixtures.token(ending(30, 10), {"warn_days": 30, "in_use_days": 10})
	findings := expires_soon.deny with input as subject
	findings == {"expires on 2026-12-01 (in 30 days), last used on 2026-10-31"}
}

test_endless_is_silent if {
	subject := fixtures.token({"token": {"never_expires": true}}, params)
	endless := fixtures.without(subject, ["token/expires_in_days", "token/expires_at"])
	findings := expires_soon.deny with input as endless
	findings == set()
}
