package patrol.workspace.federation_issuer_test

import data.patrol.lib.fixtures
import data.patrol.workspace.federation_issuer

params := {"issuers": ["https://token.actions.githubusercontent.com", "https://vstoken.dev.azure.com/*", "http://*"]}

trusts(issuer, owner) := fixtures.workspace(
	{"federation_policies": [{
		"id": "f1",
		"service_principal": "6d1c2a30",
		"service_principal_id": owner,
		"issuer": issuer,
		"subject": "",
	}]},
	params,
)

test_unknown_issuer_fires if {
	findings := federation_issuer.deny with input as trusts("https://login.example.net", "7")
	findings == {{
		"msg": "federation policy f1 of service principal 6d1c2a30 trusts https://login.example.net",
		"federation_policies": "f1",
		"issuers_found": "https://login.example.net",
	}}
}

test_issuer_of_the_account_fires if {
	findings := federation_issuer.deny with input as trusts("https://vstoken.dev.azure.com/a/b", "")
	some finding in findings
	finding.msg == "federation policy f1 of the account trusts https://vstoken.dev.azure.com/a/b"
}

test_plain_http_fires if {
	findings := federation_issuer.deny with input as trusts("http://token.example.com", "7")
	count(findings) == 1
}

test_known_issuer_is_silent if {
	findings := federation_issuer.deny with input as trusts("https://vstoken.dev.azure.com/7f10", "7")
	findings == set()
}
