package patrol.workspace.evidence_test

import data.patrol.lib.fixtures
import data.patrol.workspace.evidence

test_complete_is_silent if {
	findings := evidence.deny with input as fixtures.workspace({}, {})
	findings == set()
}

test_each_gap_fires if {
	coverage := {"tokens": "partial", "grants": "not_initialised", "principals": "denied"}
	findings := evidence.deny with input as fixtures.workspace({"coverage": coverage}, {})
	findings == {"tokens: partial", "grants: not initialised", "principals: denied"}
}

test_quiet_logs_fire if {
	every value in ["", "false", "no"] {
		findings := evidence.deny with input as fixtures.workspace({"settings": {"enableVerboseAuditLogs": value}}, {})
		findings == {"verbose audit logs are not on"}
	}
}

test_any_letter_case_is_on if {
	findings := evidence.deny with input as fixtures.workspace({"settings": {"enableVerboseAuditLogs": "True"}}, {})
	findings == set()
}

test_unread_settings_fire if {
	subject := fixtures.without(fixtures.workspace({"coverage": {"settings": "denied"}}, {}), ["workspace/settings"])
	findings := evidence.deny with input as subject
	findings == {"settings: denied", "verbose audit logs are not on"}
}
