package patrol.token.human_in_production_test

import data.patrol.lib.fixtures
import data.patrol.token.human_in_production

params := {"label": "env", "values": ["prod", "production"]}

labelled(value) := {"workspace": {"labels": {"env": value}}}

test_user_in_production_fires if {
	findings := human_in_production.deny with input as fixtures.token(labelled("prod"), params)
	findings == {"owner is a user, the workspace has env=prod"}
}

test_other_spelling_fires if {
	findings := human_in_production.deny with input as fixtures.token(labelled("Production"), params)
	findings == {"owner is a user, the workspace has env=Production"}
}

test_service_principal_is_silent if {
	subject := fixtures.token(object.union(labelled("prod"), {"owner": {"kind": "service_principal"}}), params)
	findings := human_in_production.deny with input as subject
	findings == set()
}

test_development_is_silent if {
	findings := human_in_production.deny with input as fixtures.token(labelled("dev"), params)
	findings == set()
}

test_label_of_choice_fires if {
	subject := fixtures.token({"workspace": {"labels": {"tier": "gold"}}}, {"label": "tier", "values": ["gold"]})
	findings := human_in_production.deny with input as subject
	findings == {"owner is a user, the workspace has tier=gold"}
}

test_unread_directory_is_silent if {
	subject := fixtures.without(fixtures.token(labelled("prod"), params), ["owner/kind"])
	findings := human_in_production.deny with input as subject
	findings == set()
}

test_label_applies if {
	every value in ["prod", "dev", ""] {
		human_in_production.applicable with input as fixtures.token(labelled(value), params)
	}
}

test_no_label_does_not_apply if {
	subject := fixtures.without(fixtures.token({}, params), ["workspace/labels/env"])
	not human_in_production.applicable with input as subject
}

# Tags of Azure come in lower case, whatever the portal shows.
test_label_in_any_letter_case if {
	subject := fixtures.token(labelled("prod"), {"label": "Env", "values": ["prod"]})
	human_in_production.applicable with input as subject
	findings := human_in_production.deny with input as subject
	findings == {"owner is a user, the workspace has env=prod"}
}
