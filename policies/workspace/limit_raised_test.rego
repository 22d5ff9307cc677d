package patrol.workspace.limit_raised_test

import data.patrol.lib.fixtures
import data.patrol.workspace.limit_raised

subject(now, before) := fixtures.workspace(
	{"max_lifetime_days": now, "previous": {"settings_at": "2026-10-31T00:00:00Z", "max_lifetime_days": before}},
	{},
)

test_raised_fires if {
	findings := limit_raised.deny with input as subject(91, 90)
	findings == {"limit went from 90 to 91 days since 2026-10-31T00:00:00Z"}
}

test_unchanged_is_silent if {
	findings := limit_raised.deny with input as subject(90, 90)
	findings == set()
}

test_lowered_is_silent if {
	findings := limit_raised.deny with input as subject(30, 90)
	findings == set()
}

test_author_is_told if {
	known := {"workspace": {"audit_changes": {"settings": {"maxTokenLifetimeDays": fixtures.authors(["ana@example.com"])}}}}
	findings := limit_raised.deny with input as object.union(subject(91, 90), known)
	{f.msg | some f in findings} == {"limit went from 90 to 91 days since 2026-10-31T00:00:00Z; audit log: ana@example.com"}
	{by | by := findings[_].changed_by[_].by} == {"ana@example.com"}
}

test_author_of_nothing_is_silent if {
	known := {"workspace": {"audit_changes": {"settings": {"maxTokenLifetimeDays": fixtures.authors(["ana@example.com"])}}}}
	findings := limit_raised.deny with input as object.union(subject(90, 90), known)
	findings == set()
}

test_applies_where_it_is_known_how_it_was if {
	limit_raised.applicable with input as {"workspace": {"previous": {"settings_at": "2026-10-31T00:00:00Z"}}}
	not limit_raised.applicable with input as {"workspace": {"previous": {}}}
}
