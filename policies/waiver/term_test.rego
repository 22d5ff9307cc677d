package patrol.waiver.term_test

import data.patrol.lib.fixtures
import data.patrol.waiver.term

params := {"max_term_days": 180}

test_one_day_over_fires if {
	findings := term.deny with input as fixtures.waiver({"waiver": {"term_days": 181}}, params)
	findings == {"granted for 181 days, limit 180"}
}

test_at_limit_is_silent if {
	findings := term.deny with input as fixtures.waiver({"waiver": {"term_days": 180}}, params)
	findings == set()
}

test_lower_limit_fires if {
	findings := term.deny with input as fixtures.waiver({}, {"max_term_days": 30})
	findings == {"granted for 92 days, limit 30"}
}
