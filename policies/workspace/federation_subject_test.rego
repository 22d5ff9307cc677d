package patrol.workspace.federation_subject_test

import data.patrol.lib.fixtures
import data.patrol.workspace.federation_subject

subject(text) := {"federation_policies": [{
	"id": "f1",
	"service_principal": "6d1c2a30",
	"service_principal_id": "7",
	"issuer": "https://token.actions.githubusercontent.com",
	"subject": text,
}]}

test_wildcard_fires if {
	findings := federation_subject.deny with input as fixtures.workspace(subject("repo:example-org/*"), {})
	findings == {{
		"msg": "federation policy f1 of service principal 6d1c2a30 admits repo:example-org/*",
		"federation_policies": "f1",
		"subjects": "repo:example-org/*",
	}}
}

test_one_subject_is_silent if {
	findings := federation_subject.deny with input as fixtures.workspace({}, {})
	findings == set()
}

test_policy_of_the_account_is_silent if {
	findings := federation_subject.deny with input as fixtures.workspace(subject(""), {})
	findings == set()
}
