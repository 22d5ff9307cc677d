package patrol.token.federated_test

import data.patrol.lib.fixtures
import data.patrol.token.federated

owned_by(id, kind) := fixtures.token({"owner": {"id": id, "kind": kind}}, {})

test_federated_service_principal_fires if {
	findings := federated.deny with input as owned_by("7000000000000000009", "service_principal")
	findings == {{
		"msg": "owner has a federation policy, and needs no token",
		"issuer": "https://token.actions.githubusercontent.com",
		"subject": "repo:example-org/etl:environment:prod",
	}}
}

test_other_service_principal_is_silent if {
	findings := federated.deny with input as owned_by("7000000000000000010", "service_principal")
	findings == set()
}

test_person_is_silent if {
	findings := federated.deny with input as owned_by("7000000000000000009", "user")
	findings == set()
}
