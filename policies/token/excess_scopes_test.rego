package patrol.token.excess_scopes_test

import data.patrol.lib.fixtures
import data.patrol.token.excess_scopes

wide(changes) := fixtures.token(
	{"token": object.union(
		{"scopes": ["all-apis"], "autoscope_state": "backfilled", "inferred_scopes": ["sql"], "needed_scopes": ["sql"]},
		changes,
	)},
	{},
)

test_all_apis_fires if {
	findings := excess_scopes.deny with input as wide({})
	findings == {{"msg": "unrestricted, observed use needs only sql", "observed_scopes": ["sql"]}}
}

test_all_apis_among_others_fires if {
	findings := excess_scopes.deny with input as wide({"scopes": ["sql", "all-apis"]})
	{finding.observed_scopes | some finding in findings} == {["sql"]}
}

test_no_scopes_fire if {
	findings := excess_scopes.deny with input as wide({"scopes": []})
	{finding.observed_scopes | some finding in findings} == {["sql"]}
}

test_all_that_is_needed_is_told if {
	findings := excess_scopes.deny with input as wide({"needed_scopes": ["jobs", "sql"]})
	findings == {{"msg": "unrestricted, observed use needs only jobs, sql", "observed_scopes": ["jobs", "sql"]}}
}

test_restricted_is_silent if {
	findings := excess_scopes.deny with input as wide({"scopes": ["sql", "jobs"]})
	findings == set()
}

test_observed_need_of_everything_is_silent if {
	findings := excess_scopes.deny with input as wide({"needed_scopes": ["all-apis"]})
	findings == set()
}

test_nothing_observed_is_silent if {
	findings := excess_scopes.deny with input as wide({"inferred_scopes": [], "needed_scopes": []})
	findings == set()
}

test_unknown_scopes_are_silent if {
	findings := excess_scopes.deny with input as fixtures.without(wide({}), ["token/scopes"])
	findings == set()
}

test_unknown_observation_is_silent if {
	findings := excess_scopes.deny with input as fixtures.without(wide({}), ["token/needed_scopes"])
	findings == set()
}

test_observed_applies if excess_scopes.applicable with input as wide({})

test_unknown_observation_applies if {
	excess_scopes.applicable with input as fixtures.without(wide({}), ["token/needed_scopes"])
}

test_nothing_observed_does_not_apply if {
	not excess_scopes.applicable with input as wide({"inferred_scopes": [], "needed_scopes": []})
}

test_unfinished_does_not_apply if {
	every state in ["running", "api_not_covered"] {
		not excess_scopes.applicable with input as wide({"autoscope_state": state})
	}
}

test_calls_that_nobody_can_tell_do_not_apply if {
	not excess_scopes.applicable with input as wide({"unmapped_calls": ["notebook/runCommand"]})
}

test_without_a_log_applies if excess_scopes.applicable with input as fixtures.without(wide({}), ["token/unmapped_calls"])
