package patrol.lib.authors_test

import data.patrol.lib.authors
import data.patrol.lib.fixtures

test_no_log_says_nothing if {
	authors.finding("it grew", []) == "it grew"
}

test_unread_log_says_so if {
	said := authors.finding("it grew", [{"text": "audit log: not read"}])
	said == {"msg": "it grew; audit log: not read", "changed_by": []}
}

test_authors_are_told if {
	said := authors.finding("it grew", [fixtures.authors(["ana@example.com"])])
	said == {
		"msg": "it grew; audit log: ana@example.com",
		"changed_by": [{"at": "2026-10-31T09:00:00Z", "by": "ana@example.com", "action": "workspaceConfEdit"}],
	}
}

test_nobody_is_told if {
	said := authors.finding("it grew", [fixtures.authors([])])
	said == {"msg": "it grew; audit log: names nobody", "changed_by": []}
}
