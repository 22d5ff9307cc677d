package patrol.workspace.ip_access_test

import data.patrol.lib.fixtures
import data.patrol.workspace.ip_access

params := {"min_prefix_length": 8}

allow(label, addresses) := {"id": label, "label": label, "type": "ALLOW", "enabled": true, "addresses": addresses}

listed(lists) := fixtures.workspace({"ip_access_lists": lists}, params)

test_lists_that_are_off_fire if {
	every value in ["false", "", "yes"] {
		subject := fixtures.workspace({"settings": {"enableIpAccessLists": value}}, params)
		findings := ip_access.deny with input as subject
		findings == {"IP access lists are not enabled"}
	}
}

test_lists_that_are_off_are_all_there_is_to_say if {
	every lists in [[], [allow("all", ["0.0.0.0/0"])]] {
		subject := fixtures.workspace({"settings": {"enableIpAccessLists": "false"}, "ip_access_lists": lists}, params)
		findings := ip_access.deny with input as subject
		findings == {"IP access lists are not enabled"}
	}
}

test_any_letter_case_is_on if {
	findings := ip_access.deny with input as fixtures.workspace({"settings": {"enableIpAccessLists": "TRue"}}, params)
	findings == set()
}

test_no_allowing_list_fires if {
	every lists in [
		[],
		[object.union(allow("a", ["192.0.2.0/24"]), {"type": "BLOCK"})],
		[object.union(allow("a", ["192.0.2.0/24"]), {"enabled": false})],
		[allow("a", [])],
	] {
		findings := ip_access.deny with input as listed(lists)
		findings == {"no list of allowed addresses is enabled"}
	}
}

test_every_address_fires if {
	every range in ["0.0.0.0/0", "::/0", "128.0.0.0/1", "10.1.2.3/7"] {
		findings := ip_access.deny with input as listed([allow("office", ["192.0.2.1", range]), allow("vpn", ["10.0.0.0/8"])])
		findings == {{"msg": "list office allows every address", "ranges": [range]}}
	}
}

test_wide_but_not_every_address_is_silent if {
	findings := ip_access.deny with input as listed([allow("office", ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1", "2001:db8::1"])])
	findings == set()
}

test_a_list_that_is_off_does_not_count if {
	lists := [allow("office", ["192.0.2.1"]), object.union(allow("all", ["0.0.0.0/0"]), {"enabled": false})]
	findings := ip_access.deny with input as listed(lists)
	findings == set()
}

test_changed_limit_fires if {
	findings := ip_access.deny with input as fixtures.workspace({}, {"min_prefix_length": 25})
	findings == {{"msg": "list office allows every address", "ranges": ["192.0.2.0/24"]}}
}

test_healthy_is_silent if {
	findings := ip_access.deny with input as fixtures.workspace({}, params)
	findings == set()
}

test_applies_while_tokens_are_enabled if {
	ip_access.applicable with input as fixtures.workspace({}, params)
	not ip_access.applicable with input as fixtures.workspace({"pats_enabled": false}, params)
}

test_unknown_switch_applies if {
	ip_access.applicable with input as fixtures.without(fixtures.workspace({}, params), ["workspace/pats_enabled"])
}
