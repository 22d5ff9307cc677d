package patrol.workspace.open_to_all_test

import data.patrol.lib.fixtures
import data.patrol.workspace.open_to_all

params := {"groups": ["users", "account users"]}

group(name, level) := {"principal": name, "kind": "group", "level": level, "inherited": false}

admins := group("admins", "CAN_MANAGE")

test_users_fires if {
	findings := open_to_all.deny with input as fixtures.workspace({"grants": [admins, group("users", "CAN_USE")]}, params)
	findings == {"group users has CAN_USE"}
}

test_several_fire if {
	grants := [group("users", "CAN_USE"), group("Account Users", "CAN_MANAGE")]
	findings := open_to_all.deny with input as fixtures.workspace({"grants": grants}, params)
	findings == {"group Account Users has CAN_MANAGE", "group users has CAN_USE"}
}

test_other_groups_are_silent if {
	findings := open_to_all.deny with input as fixtures.workspace({}, params)
	findings == set()
}

test_other_levels_are_silent if {
	findings := open_to_all.deny with input as fixtures.workspace({"grants": [group("users", "CAN_VIEW")]}, params)
	findings == set()
}

test_user_of_that_name_is_silent if {
	grants := [object.union(group("users", "CAN_USE"), {"kind": "user"})]
	findings := open_to_all.deny with input as fixtures.workspace({"grants": grants}, params)
	findings == set()
}

test_groups_of_choice_fire if {
	findings := open_to_all.deny with input as fixtures.workspace({}, {"groups": ["token-users"]})
	findings == {"group token-users has CAN_USE"}
}

test_unread_grants_are_silent if {
	subject := fixtures.without(fixtures.workspace({}, params), ["workspace/grants"])
	findings := open_to_all.deny with input as subject
	findings == set()
}
