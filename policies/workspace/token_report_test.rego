package patrol.workspace.token_report_test

import data.patrol.lib.fixtures
import data.patrol.workspace.token_report

params := {"min_age_days": 1}

findings(report) := found if {
	found := token_report.deny with input as fixtures.workspace({"token_report": report}, params)
}

counts(here, there) := {"report": 9, "read": 9, "both": 8, "missing_here": here, "missing_there": there}

test_alike_is_silent if {
	found := findings({"counts": counts(0, 0), "missing_here": [], "missing_there": []})
	found == set()
}

test_not_read_fires if {
	found := findings({
		"counts": counts(3, 0),
		"missing_here": [
			{"token_id": "a", "age_days": 0, "expired": false},
			{"token_id": "b"},
			{"token_id": "c", "age_days": 9, "expired": true},
		],
		"missing_there": [],
	})
	found == {{"msg": "tokens in the token report but not in the list that was read: 2", "not_read": ["a", "b"]}}
}

test_not_reported_fires if {
	found := findings({
		"counts": counts(0, 4),
		"missing_here": [],
		"missing_there": [
			{"token_id": "a"},
			{"token_id": "b", "age_days": 1, "expired": false},
			{"token_id": "c", "age_days": 0, "expired": false},
			{"token_id": "d", "age_days": 30, "expired": true},
		],
	})
	found == {{"msg": "tokens in the list that was read but not in the token report: 2", "not_reported": ["a", "b"]}}
}

test_expired_and_young_are_silent if {
	found := findings({
		"counts": counts(1, 2),
		"missing_here": [{"token_id": "a", "age_days": 9, "expired": true}],
		"missing_there": [
			{"token_id": "b", "age_days": 9, "expired": true},
			{"token_id": "c", "age_days": 0, "expired": false},
		],
	})
	found == set()
}

test_a_cut_list_says_so if {
	found := findings({
		"counts": counts(7, 8),
		"missing_here": [{"token_id": "a", "age_days": 9, "expired": false}],
		"missing_there": [{"token_id": "b", "age_days": 9, "expired": false}],
	})
	found == {
		{"msg": "tokens in the token report but not in the list that was read: 1 or more", "not_read": ["a"]},
		{"msg": "tokens in the list that was read but not in the token report: 1 or more", "not_reported": ["b"]},
	}
}
