package patrol.workspace.tokens_back_on_test

import data.patrol.lib.fixtures
import data.patrol.workspace.tokens_back_on

subject(now, before) := fixtures.workspace(
	{"pats_enabled": now, "previous": {"settings_at": "2026-10-31T00:00:00Z", "pats_enabled": before}},
	{},
)

test_back_on_fires if {
	findings := tokens_back_on.deny with input as subject(true, false)
	findings == {"tokens were off on 2026-10-31T00:00:00Z and are on now"}
}

test_still_on_is_silent if {
	findings := tokens_back_on.deny with input as subject(true, true)
	findings == set()
}

test_still_off_is_silent if {
	findings := tokens_back_on.deny with input as subject(false, false)
	findings == set()
}

test_switched_off_is_silent if {
	findings := tokens_back_on.deny with input as subject(false, true)
	findings == set()
}

test_author_is_told if {
	known := {"workspace": {"audit_changes": {"settings": {"enableTokensConfig": fixtures.authors(["ana@example.com"])}}}}
	findings := tokens_back_on.deny with input as object.union(subject(true, false), known)
	{f.msg | some f in findings} == {"tokens were off on 2026-10-31T00:00:00Z and are on now; audit log: ana@example.com"}
	{by | by := findings[_].changed_by[_].by} == {"ana@example.com"}
}

test_author_of_another_setting_is_not_told if {
	known := {"workspace": {"audit_changes": {"settings": {"maxTokenLifetimeDays": fixtures.authors(["ana@example.com"])}}}}
	findings := tokens_back_on.deny with input as object.union(subject(true, false), known)
	findings == {"tokens were off on 2026-10-31T00:00:00Z and are on now"}
}

test_applies_where_it_is_known_how_it_was if {
	tokens_back_on.applicable with input as {"workspace": {"previous": {"settings_at": "2026-10-31T00:00:00Z"}}}
	not tokens_back_on.applicable with input as {"workspace": {"previous": {}}}
}
