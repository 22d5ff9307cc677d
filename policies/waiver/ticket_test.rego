package patrol.waiver.ticket_test

import data.patrol.lib.fixtures
import data.patrol.waiver.ticket

params := {"pattern": "OPS-[0-9]+|SEC-[0-9]+"}

test_no_ticket_fires if {
	findings := ticket.deny with input as fixtures.waiver({"waiver": {"ticket": ""}}, params)
	findings == {`ticket "" does not match OPS-[0-9]+|SEC-[0-9]+`}
}

test_another_form_fires if {
	findings := ticket.deny with input as fixtures.waiver({"waiver": {"ticket": "see OPS-1"}}, params)
	findings == {`ticket "see OPS-1" does not match OPS-[0-9]+|SEC-[0-9]+`}
}

test_matching_ticket_is_silent if {
	findings := ticket.deny with input as fixtures.waiver({"waiver": {"ticket": "SEC-12"}}, params)
	findings == set()
}

test_no_pattern_asks_for_none if {
	findings := ticket.deny with input as fixtures.waiver({"waiver": {"ticket": ""}}, {"pattern": ""})
	findings == set()
}
