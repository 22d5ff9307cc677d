package patrol.token.inactivity_revocation_test

import data.patrol.lib.fixtures
import data.patrol.token.inactivity_revocation

params := {"warn_idle_days": 75, "platform_idle_days": 90, "owner_kinds": ["service_principal"]}

idle(days, kind) := {"token": {"idle_days": days}, "owner": {"kind": kind}}

test_first_day_fires if {
	findings := inactivity_revocation.deny with input as fixtures.token(idle(75, "service_principal"), params)
	findings == {"unused for 75 days, the platform revokes at 90"}
}

test_day_before_is_silent if {
	findings := inactivity_revocation.deny with input as fixtures.token(idle(74, "service_principal"), params)
	findings == set()
}

test_last_day_fires if {
	findings := inactivity_revocation.deny with input as fixtures.token(idle(89, "service_principal"), params)
	findings == {"unused for 89 days, the platform revokes at 90"}
}

test_day_after_is_silent if {
	findings := inactivity_revocation.deny with input as fixtures.token(idle(90, "service_principal"), params)
	findings == set()
}

test_user_is_silent if {
	findings := inactivity_revocation.deny with input as fixtures.token(idle(80, "user"), params)
	findings == set()
}

test_user_fires_on_request if {
	wider := object.union(params, {"owner_kinds": ["user", "service_principal"]})
	findings := inactivity_revocation.deny with input as fixtures.token(idle(80, "user"), wider)
	findings == {"unused for 80 days, the platform revokes at 90"}
}

test_wider_window_fires if {
	wider := object.union(params, {"warn_idle_days": 60, "platform_idle_days": 61})
	findings := inactivity_revocation.deny with input as fixtures.token(idle(60, "service_principal"), wider)
	findings == {"unused for 60 days, the platform revokes at 61"}
}

test_unknown_owner_is_silent if {
	subject := fixtures.token(idle(80, "service_principal"), params)
	findings := inactivity_revocation.deny with input as fixtures.without(subject, ["owner/kind"])
	findings == set()
}

test_unknown_use_is_silent if {
	subject := fixtures.token(idle(80, "service_principal"), params)
	findings := inactivity_revocation.deny with input as fixtures.without(subject, ["token/idle_days"])
	findings == set()
}
