package patrol.token.owner_domain_test

import data.patrol.lib.fixtures
import data.patrol.token.owner_domain

params := {"allowed_domains": ["example.com", "example.org"]}

owner(name) := {"owner": {"name": name}}

test_other_domain_fires if {
	findings := owner_domain.deny with input as fixtures.token(owner("bob@example.net"), params)
	findings == {"owner bob@example.net is outside example.com, example.org"}
}

test_lookalikes_fire if {
	lookalikes := ["bob@example.com.example.net", "bob@notexample.com", "bob@sub.example.com", "example.com", "bob"]
	every name in lookalikes {
		findings := owner_domain.deny with input as fixtures.token(owner(name), params)
		findings == {sprintf("owner %s is outside example.com, example.org", [name])}
	}
}

test_allowed_is_silent if {
	every name in ["ann@example.com", "ann@example.org", "Ann@EXAMPLE.com"] {
		findings := owner_domain.deny with input as fixtures.token(owner(name), params)
		findings == set()
	}
}

test_spelling_of_the_list_is_free if {
	every domain in ["@example.com", "Example.COM"] {
		findings := owner_domain.deny with input as fixtures.token({}, {"allowed_domains": [domain]})
		findings == set()
	}
}

test_subdomains_are_silent if {
	every name in ["ann@eu.example.com", "Ann@A.B.EXAMPLE.COM"] {
		findings := owner_domain.deny with input as fixtures.token(owner(name), {"allowed_domains": ["*.Example.com"]})
		findings == set()
	}
}

test_subdomains_are_not_the_domain if {
	every name in ["ann@example.com", "ann@badexample.com", "x.example.com"] {
		findings := owner_domain.deny with input as fixtures.token(owner(name), {"allowed_domains": ["*.example.com"]})
		count(findings) == 1
	}
}

test_service_principal_is_silent if {
	subject := fixtures.token({"owner": {"kind": "service_principal", "name": "6d1c2a30-app"}}, params)
	findings := owner_domain.deny with input as subject
	findings == set()
}

test_unknown_name_is_silent if {
	findings := owner_domain.deny with input as fixtures.without(fixtures.token({}, params), ["owner/name"])
	findings == set()
}

test_list_applies if owner_domain.applicable with input as fixtures.token({}, params)

test_no_list_does_not_apply if {
	not owner_domain.applicable with input as fixtures.token({}, {"allowed_domains": []})
}
