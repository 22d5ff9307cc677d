package patrol.token.pipeline_identity_test

import data.patrol.lib.fixtures
import data.patrol.token.pipeline_identity

params := {"agents": ["cicd/github", "gitlab-runner"]}

used_by(agents) := fixtures.token({"token": {"audit_user_agents": agents}}, params)

test_pipeline_fires if {
	findings := pipeline_identity.deny with input as used_by(["curl/8", "databricks-sdk-go/0.9 CICD/GitHub"])
	findings == {{
		"msg": "a pipeline uses it that has an identity of its own",
		"pipeline_user_agents": ["databricks-sdk-go/0.9 CICD/GitHub"],
	}}
}

test_other_agents_are_silent if {
	findings := pipeline_identity.deny with input as used_by(["curl/8", "cicd/jenkins"])
	findings == set()
}

test_unknown_is_silent if {
	findings := pipeline_identity.deny with input as fixtures.without(used_by([]), ["token/audit_user_agents"])
	findings == set()
}
