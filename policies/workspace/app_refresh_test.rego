package patrol.workspace.app_refresh_test

import data.patrol.lib.fixtures
import data.patrol.workspace.app_refresh

params := {"max_refresh_days": 7}

app(minutes) := fixtures.workspace({"oauth_apps": [{"name": "Legacy sync", "refresh_ttl_minutes": minutes}]}, params)

test_long_life_fires if {
	findings := app_refresh.deny with input as app(129600)
	findings == {{"msg": "refresh tokens of app Legacy sync live 90 days, limit 7", "apps": "Legacy sync"}}
}

test_at_limit_is_silent if {
	findings := app_refresh.deny with input as app(10080)
	findings == set()
}
