package patrol.workspace.direct_grants_test

import data.patrol.lib.fixtures
import data.patrol.workspace.direct_grants

grant(name, kind, level) := {"principal": name, "kind": kind, "level": level, "inherited": false}

test_users_fire if {
	grants := [
		grant("admins", "group", "CAN_MANAGE"),
		grant("bob@example.com", "user", "CAN_USE"),
		grant("ann@example.com", "user", "CAN_USE"),
	]
	findings := direct_grants.deny with input as fixtures.workspace({"grants": grants}, {})
	findings == {{
		"msg": "CAN_USE granted to users directly: 2",
		"users": ["ann@example.com", "bob@example.com"],
	}}
}

test_one_user_fires if {
	grants := [grant("ann@example.com", "user", "CAN_USE")]
	findings := direct_grants.deny with input as fixtures.workspace({"grants": grants}, {})
	findings == {{"msg": "CAN_USE granted to users directly: 1", "users": ["ann@example.com"]}}
}

test_inherited_grants_count if {
	grants := [object.union(grant("ann@example.com", "user", "CAN_USE"), {"inherited": true})]
	findings := direct_grants.deny with input as fixtures.workspace({"grants": grants}, {})
	count(findings) == 1
}

test_others_are_silent if {
	grants := [
		grant("token-users", "group", "CAN_USE"),
		grant("6d1c2a30-app", "service_principal", "CAN_USE"),
		grant("ann@example.com", "user", "CAN_MANAGE"),
	]
	findings := direct_grants.deny with input as fixtures.workspace({"grants": grants}, {})
	findings == set()
}

test_unread_grants_are_silent if {
	findings := direct_grants.deny with input as fixtures.without(fixtures.workspace({}, {}), ["workspace/grants"])
	findings == set()
}
