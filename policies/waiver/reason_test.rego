package patrol.waiver.reason_test

import data.patrol.lib.fixtures
import data.patrol.waiver.reason

params := {"min_length": 15}

test_one_character_short_fires if {
	findings := reason.deny with input as fixtures.waiver({"waiver": {"reason": "partner blocks"}}, params)
	findings == {"reason of 14 characters, want at least 15"}
}

test_long_enough_is_silent if {
	findings := reason.deny with input as fixtures.waiver({"waiver": {"reason": "partner is late"}}, params)
	findings == set()
}

test_blanks_do_not_count if {
	findings := reason.deny with input as fixtures.waiver({"waiver": {"reason": "   legacy        "}}, params)
	findings == {"reason of 6 characters, want at least 15"}
}

test_characters_count_and_not_bytes if {
	findings := reason.deny with input as fixtures.waiver({"waiver": {"reason": "éééééééééééééé"}}, params)
	findings == {"reason of 14 characters, want at least 15"}
}

test_another_limit_fires if {
	findings := reason.deny with input as fixtures.waiver({"waiver": {"reason": "partner is late"}}, {"min_length": 16})
	findings == {"reason of 15 characters, want at least 16"}
}
