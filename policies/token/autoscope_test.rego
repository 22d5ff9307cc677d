package patrol.token.autoscope_test

import data.patrol.lib.fixtures
import data.patrol.token.autoscope

params := {"max_observation_days": 30}

scoping(state, age) := {"token": {"autoscope_state": state, "age_days": age}}

test_off_fires if {
	findings := autoscope.deny with input as fixtures.token(scoping("disabled", 1), params)
	findings == {"automatic scoping is off"}
}

test_stuck_fires if {
	findings := autoscope.deny with input as fixtures.token(scoping("running", 31), params)
	findings == {"automatic scoping still observes after 31 days, limit 30"}
}

test_running_at_limit_is_silent if {
	findings := autoscope.deny with input as fixtures.token(scoping("running", 30), params)
	findings == set()
}

test_done_is_silent if {
	every state in ["completed", "backfilled", "user_selected", "api_not_covered"] {
		findings := autoscope.deny with input as fixtures.token(scoping(state, 400), params)
		findings == set()
	}
}

test_lower_limit_fires if {
	findings := autoscope.deny with input as fixtures.token(scoping("running", 1), {"max_observation_days": 0})
	findings == {"automatic scoping still observes after 1 day, limit 0"}
}

test_unknown_age_is_silent if {
	subject := fixtures.without(fixtures.token(scoping("running", 400), params), ["token/age_days"])
	findings := autoscope.deny with input as subject
	findings == set()
}

test_state_applies if autoscope.applicable with input as fixtures.token({}, params)

test_no_state_does_not_apply if {
	not autoscope.applicable with input as fixtures.token(scoping("", 1), params)
}
