package patrol.token.unused_test

import data.patrol.lib.fixtures
import data.patrol.token.unused

params := {"max_idle_days": 90}

test_used_at_limit_fires if {
	findings := unused.deny with input as fixtures.token({"token": {"idle_days": 90}}, params)
	findings == {{
		"msg": "unused for 90 days, limit 90",
		"last_used_at": "2026-10-31T00:00:00Z",
	}}
}

test_used_one_day_below_is_silent if {
	findings := unused.deny with input as fixtures.token({"token": {"idle_days": 89}}, params)
	findings == set()
}

test_never_used_at_limit_fires if {
	findings := unused.deny with input as never_used(90)
	findings == {"never used in 90 days, limit 90"}
}

test_never_used_one_day_below_is_silent if {
	findings := unused.deny with input as never_used(89)
	findings == set()
}

test_stricter_limit_fires if {
	findings := unused.deny with input as fixtures.token({"token": {"idle_days": 30}}, {"max_idle_days": 30})
	{finding.msg | some finding in findings} == {"unused for 30 days, limit 30"}
}

test_unknown_use_is_silent if {
	subject := fixtures.token({"token": {"idle_days": 400}}, params)
	findings := unused.deny with input as fixtures.without(subject, ["token/used", "token/idle_days"])
	findings == set()
}

test_unknown_use_alone_is_silent if {
	findings := unused.deny with input as fixtures.without(never_used(400), ["token/used"])
	findings == set()
}

test_never_used_fires_once if {
	# Even with a date of use, which such a token cannot have.
	subject := fixtures.token({"token": {"used": false, "idle_days": 90}}, params)
	findings := unused.deny with input as subject
	findings == {"never used in 90 days, limit 90"}
}

never_used(age) := fixtures.without(
	fixtures.token({"token": {"used": false, "age_days": age, "idle_days": age}}, params),
	["token/last_used_at", "token/last_used_ms"],
)
