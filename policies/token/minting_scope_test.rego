package patrol.token.minting_scope_test

import data.patrol.lib.fixtures
import data.patrol.token.minting_scope

params := {"minting_scopes": ["authentication"]}

test_minting_scope_fires if {
	subject := fixtures.token({"token": {"scopes": ["sql", "authentication"], "writing_scopes": ["sql", "authentication"]}}, params)
	findings := minting_scope.deny with input as subject
	findings == {"holds scope authentication, which makes tokens of any scope"}
}

test_reading_tokens_mints_none if {
	token := {"scopes": ["sql", "authentication:read"], "writing_scopes": ["sql"]}
	findings := minting_scope.deny with input as fixtures.token({"token": token}, params)
	findings == set()
}

test_other_modifiers_fire if {
	token := {"scopes": ["authentication:new"], "writing_scopes": ["authentication:new"]}
	findings := minting_scope.deny with input as fixtures.token({"token": token}, params)
	count(findings) == 1
}

test_other_scopes_are_silent if {
	findings := minting_scope.deny with input as fixtures.token({}, params)
	findings == set()
}

test_unrestricted_is_silent if {
	findings := minting_scope.deny with input as fixtures.token({"token": {"scopes": []}}, params)
	findings == set()
}

test_scopes_of_choice_fire if {
	token := {"scopes": ["sql", "jobs"], "writing_scopes": ["sql", "jobs"]}
	subject := fixtures.token({"token": token}, {"minting_scopes": ["SQL", "jobs", "authentication"]})
	findings := minting_scope.deny with input as subject
	findings == {
		"holds scope jobs, which makes tokens of any scope",
		"holds scope sql, which makes tokens of any scope",
	}
}

test_unknown_scopes_are_silent if {
	findings := minting_scope.deny with input as fixtures.without(fixtures.token({}, params), ["token/scopes"])
	findings == set()
}
