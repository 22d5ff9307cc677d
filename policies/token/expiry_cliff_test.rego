package patrol.token.expiry_cliff_test

import data.patrol.lib.fixtures
import data.patrol.token.expiry_cliff

params := {"owner_tokens": 5, "workspace_tokens": 50, "workspace_percent": 10}

near(owner, workspace, tokens) := {
	"token": {"owner_expiring_near": owner, "workspace_expiring_near": workspace},
	"workspace": {"tokens": tokens},
}

test_owner_at_limit_fires if {
	findings := expiry_cliff.deny with input as fixtures.token(near(5, 5, 10), params)
	findings == {"5 tokens of its owner expire within a day of it, limit 5"}
}

test_owner_below_limit_is_silent if {
	findings := expiry_cliff.deny with input as fixtures.token(near(4, 49, 49), params)
	findings == set()
}

test_workspace_at_limits_fires if {
	findings := expiry_cliff.deny with input as fixtures.token(near(1, 50, 500), params)
	findings == {"50 of the workspace's 500 tokens expire within a day of it, limit 50"}
}

test_small_share_is_silent if {
	findings := expiry_cliff.deny with input as fixtures.token(near(1, 50, 501), params)
	findings == set()
}

test_both_fire if {
	findings := expiry_cliff.deny with input as fixtures.token(near(6, 60, 100), params)
	count(findings) == 2
}

test_changed_limits_fire if {
	subject := fixtures.token(near(2, 3, 100), {"owner_tokens": 2, "workspace_tokens": 3, "workspace_percent": 3})
	findings := expiry_cliff.deny with input as subject
	count(findings) == 2
}

test_endless_is_silent if {
	subject := fixtures.without(
		fixtures.token({}, params),
		["token/owner_expiring_near", "token/workspace_expiring_near"],
	)
	findings := expiry_cliff.deny with input as subject
	findings == set()
}
