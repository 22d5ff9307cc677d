package patrol.token.has_secret_test

import data.patrol.lib.fixtures
import data.patrol.token.has_secret

owned_by(id, kind) := fixtures.token({"owner": {"id": id, "kind": kind}}, {})

test_service_principal_with_secret_fires if {
	findings := has_secret.deny with input as owned_by("7000000000000000009", "service_principal")
	findings == {"owner has an OAuth secret, and needs no token"}
}

test_inactive_secret_is_silent if {
	inactive := [{"id": "5a7e", "service_principal_id": "7000000000000000009", "status": "INACTIVE"}]
	changes := {"owner": {"id": "7000000000000000009", "kind": "service_principal"}, "workspace": {"service_principal_secrets": inactive}}
	findings := has_secret.deny with input as fixtures.token(changes, {})
	findings == set()
}

test_other_service_principal_is_silent if {
	findings := has_secret.deny with input as owned_by("7000000000000000010", "service_principal")
	findings == set()
}
