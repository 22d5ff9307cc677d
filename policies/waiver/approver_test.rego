package patrol.waiver.approver_test

import data.patrol.lib.fixtures
import data.patrol.waiver.approver

params := {"refuse_unknown_owner": false}

strict := {"refuse_unknown_owner": true}

test_owner_by_name_fires if {
	findings := approver.deny with input as fixtures.waiver({"waiver": {"approver": "Ann@Example.com"}}, params)
	findings == {"approved by Ann@Example.com, who owns the token"}
}

test_owner_by_another_mailbox_of_theirs_fires if {
	findings := approver.deny with input as fixtures.waiver({"waiver": {"approver": "ann+waivers@example.com"}}, params)
	findings == {"approved by ann+waivers@example.com, who owns the token"}
}

test_owner_by_id_fires if {
	findings := approver.deny with input as fixtures.waiver({"waiver": {"approver": "7000000000000000001"}}, params)
	findings == {"approved by 7000000000000000001, who owns the token"}
}

test_owner_of_a_secret_fires if {
	subject := fixtures.waiver({"waiver": {"approver": "ann@example.com"}, "finding": {"resource": "secret"}}, params)
	findings := approver.deny with input as subject
	findings == {"approved by ann@example.com, who owns the secret"}
}

test_somebody_else_is_silent if {
	findings := approver.deny with input as fixtures.waiver({}, strict)
	findings == set()
}

test_unknown_owner_is_silent_unless_asked if {
	subject := fixtures.without(fixtures.waiver({}, params), ["finding/owner"])
	findings := approver.deny with input as subject
	findings == set()
}

test_unknown_owner_fires_when_asked if {
	subject := fixtures.without(fixtures.waiver({}, strict), ["finding/owner"])
	findings := approver.deny with input as subject
	findings == {"the owner of the token is not known by name"}
}

test_workspace_has_no_owner if {
	subject := fixtures.without(
		fixtures.waiver({"finding": {"resource": "workspace"}}, strict),
		["finding/owner", "finding/owner_id"],
	)
	findings := approver.deny with input as subject
	findings == set()
}
