package patrol.token.human_automation_test

import data.patrol.lib.fixtures
import data.patrol.token.human_automation

params := {"max_ips_per_day": 3, "agents": ["cicd/", "Jenkins"]}

seen(agents, addresses) := {"token": {"audit_user_agents": agents, "audit_max_ips_per_day": addresses}}

test_pipeline_fires if {
	agents := ["databricks-sdk-py/0.60 cicd/github", "curl/8", "JENKINS plugin"]
	findings := human_automation.deny with input as fixtures.token(seen(agents, 1), params)
	findings == {{
		"msg": "automation uses it (user agents: 2)",
		"automated_user_agents": ["databricks-sdk-py/0.60 cicd/github", "JENKINS plugin"],
	}}
}

test_one_address_over_fires if {
	findings := human_automation.deny with input as fixtures.token(seen([], 4), params)
	findings == {"used from 4 addresses on one day, limit 3"}
}

test_at_limit_is_silent if {
	findings := human_automation.deny with input as fixtures.token(seen(["curl/8"], 3), params)
	findings == set()
}

test_both_fire if {
	findings := human_automation.deny with input as fixtures.token(seen(["cicd/x"], 9), params)
	count(findings) == 2
}

test_service_principal_is_silent if {
	subject := object.union(seen(["cicd/github"], 9), {"owner": {"kind": "service_principal"}})
	findings := human_automation.deny with input as fixtures.token(subject, params)
	findings == set()
}

test_changed_limits_fire if {
	subject := fixtures.token({}, {"max_ips_per_day": 0, "agents": ["sql-python"]})
	findings := human_automation.deny with input as subject
	count(findings) == 2
}

test_unseen_is_silent if {
	subject := fixtures.without(
		fixtures.token({}, params),
		["token/audit_user_agents", "token/audit_max_ips_per_day"],
	)
	findings := human_automation.deny with input as subject
	findings == set()
}
