package patrol.token.read_only_use_test

import data.patrol.lib.fixtures
import data.patrol.token.read_only_use

reading(changes) := fixtures.token(
	{"token": object.union(
		{
			"scopes": ["unity-catalog"],
			"writing_scopes": ["unity-catalog"],
			"read_only_scopes": ["unity-catalog:read"],
			"audit_calls": ["unityCatalog/getTable"],
		},
		changes,
	)},
	{"min_days_used": 7},
)

test_reading_fires if {
	findings := read_only_use.deny with input as reading({})
	findings == {{
		"msg": "may write with unity-catalog, but only read on 20 days",
		"read_only_scopes": ["unity-catalog:read"],
		"audit_calls": ["unityCatalog/getTable"],
	}}
}

test_writing_is_silent if {
	findings := read_only_use.deny with input as reading({"read_only_scopes": []})
	findings == set()
}

test_unknown_is_silent if {
	findings := read_only_use.deny with input as fixtures.without(reading({}), ["token/read_only_scopes"])
	findings == set()
}

test_use_applies if read_only_use.applicable with input as reading({"audit_days_used": 7})

test_unknown_use_applies if {
	read_only_use.applicable with input as fixtures.without(reading({}), ["token/audit_days_used"])
}

test_little_use_does_not_apply if not read_only_use.applicable with input as reading({"audit_days_used": 6})
