package patrol.workspace.recipient_addresses_test

import data.patrol.lib.fixtures
import data.patrol.workspace.recipient_addresses

has(kind, addresses) := fixtures.workspace({"recipients": [{"name": "partner", "authentication_type": kind, "allowed_ips": addresses}]}, {})

test_no_list_fires if {
	findings := recipient_addresses.deny with input as has("TOKEN", [])
	findings == {{"msg": "recipient partner has no list of addresses", "recipients": "partner"}}
}

test_list_is_silent if {
	findings := recipient_addresses.deny with input as has("TOKEN", ["192.0.2.0/24"])
	findings == set()
}

test_without_token_is_silent if {
	findings := recipient_addresses.deny with input as has("DATABRICKS", [])
	findings == set()
}
