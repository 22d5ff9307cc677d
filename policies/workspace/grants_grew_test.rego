package patrol.workspace.grants_grew_test

import data.patrol.lib.fixtures
import data.patrol.workspace.grants_grew

grant(principal, level) := {"principal": principal, "kind": "group", "level": level, "inherited": false}

subject(now, before) := fixtures.workspace(
	{"grants": now, "previous": {"grants_at": "2026-10-31T00:00:00Z", "grants": before}},
	{},
)

engineers := grant("engineers", "CAN_USE")

test_new_group_fires if {
	findings := grants_grew.deny with input as subject([engineers, grant("users", "CAN_USE")], [engineers])
	findings == {"group users got CAN_USE since 2026-10-31T00:00:00Z"}
}

test_more_for_the_same_group_fires if {
	findings := grants_grew.deny with input as subject([grant("engineers", "CAN_MANAGE")], [engineers])
	findings == {"group engineers got CAN_MANAGE since 2026-10-31T00:00:00Z"}
}

test_user_of_the_same_name_fires if {
	user := object.union(engineers, {"kind": "user"})
	findings := grants_grew.deny with input as subject([user], [engineers])
	findings == {"user engineers got CAN_USE since 2026-10-31T00:00:00Z"}
}

test_unchanged_is_silent if {
	findings := grants_grew.deny with input as subject([engineers], [engineers])
	findings == set()
}

test_fewer_is_silent if {
	findings := grants_grew.deny with input as subject([], [engineers])
	findings == set()
}

test_level_that_makes_no_tokens_is_silent if {
	findings := grants_grew.deny with input as subject([grant("auditors", "CAN_VIEW")], [])
	findings == set()
}

test_several_are_one_message if {
	findings := grants_grew.deny with input as subject([engineers, grant("users", "CAN_USE")], [])
	findings == {concat("; ", [
		"group engineers got CAN_USE since 2026-10-31T00:00:00Z",
		"group users got CAN_USE since 2026-10-31T00:00:00Z",
	])}
}

test_authors_are_told_once if {
	known := {"workspace": {"audit_changes": {"grants": fixtures.authors(["bob@example.com", "ana@example.com"])}}}
	findings := grants_grew.deny with input as object.union(subject([engineers, grant("users", "CAN_USE")], []), known)
	{f.msg | some f in findings} == {concat("; ", [
		"group engineers got CAN_USE since 2026-10-31T00:00:00Z",
		"group users got CAN_USE since 2026-10-31T00:00:00Z",
		"audit log: bob@example.com, ana@example.com",
	])}
}

test_nobody_is_told if {
	known := {"workspace": {"audit_changes": {"grants": fixtures.authors([])}}}
	findings := grants_grew.deny with input as object.union(subject([engineers], []), known)
	{f.msg | some f in findings} == {"group engineers got CAN_USE since 2026-10-31T00:00:00Z; audit log: names nobody"}
}

test_applies_where_it_is_known_how_it_was if {
	grants_grew.applicable with input as {"workspace": {"previous": {"grants_at": "2026-10-31T00:00:00Z"}}}
	not grants_grew.applicable with input as {"workspace": {"previous": {}}}
}
