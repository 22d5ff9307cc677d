package patrol.token.unapproved_test

import data.patrol.lib.fixtures
import data.patrol.token.unapproved

fresh(approved) := fixtures.token({"token": {"in_previous_snapshot": false}}, {"approved": approved})

objection := {"is new since the previous snapshot, and neither it nor its owner is approved"}

test_new_fires if {
	findings := unapproved.deny with input as fresh([])
	findings == objection
}

test_another_approval_fires if {
	findings := unapproved.deny with input as fresh(["bob@example.com", "1", "aa"])
	findings == objection
}

test_a_ticket_in_the_comment_does_not_approve if {
	subject := object.union(fresh(["OPS-12"]), {"token": {"comment": "OPS-12"}})
	findings := unapproved.deny with input as subject
	findings == objection
}

test_approved_is_silent if {
	every approved in [
		"00000000000000000000000000000000000000000000000000000000000000AA",
		"7000000000000000001",
		"Ann@example.com",
	] {
		findings := unapproved.deny with input as fresh(["x", approved])
		findings == set()
	}
}

test_old_is_silent if {
	findings := unapproved.deny with input as fixtures.token({}, {"approved": []})
	findings == set()
}

test_applies_where_there_was_a_snapshot if {
	unapproved.applicable with input as fixtures.token({}, {"approved": []})
	unapproved.applicable with input as fresh([])
}

test_does_not_apply_to_a_first_snapshot if {
	subject := fixtures.without(fixtures.token({}, {"approved": []}), ["token/in_previous_snapshot"])
	not unapproved.applicable with input as subject
}
