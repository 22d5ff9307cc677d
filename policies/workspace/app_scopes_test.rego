package patrol.workspace.app_scopes_test

import data.patrol.lib.fixtures
import data.patrol.workspace.app_scopes

app(confidential, scopes) := fixtures.workspace({"oauth_apps": [{"name": "Legacy sync", "confidential": confidential, "scopes": scopes}]}, {})

test_public_app_with_every_api_fires if {
	findings := app_scopes.deny with input as app(false, ["offline_access", "all-apis"])
	findings == {{"msg": "app Legacy sync has no secret and may use every API", "apps": "Legacy sync"}}
}

test_narrow_app_is_silent if {
	findings := app_scopes.deny with input as app(false, ["sql"])
	findings == set()
}

test_confidential_app_is_silent if {
	findings := app_scopes.deny with input as app(true, ["all-apis"])
	findings == set()
}

test_apps_of_one_name_are_told_apart if {
	findings := app_scopes.deny with input as fixtures.workspace(
		{"oauth_apps": [
			{"id": "a1", "name": "Sync", "confidential": false, "scopes": ["all-apis"]},
			{"id": "b2", "name": "Sync", "confidential": false, "scopes": ["all-apis"]},
		]},
		{},
	)
	{finding.apps | some finding in findings} == {"Sync (a1)", "Sync (b2)"}
}
