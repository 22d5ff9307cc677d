# METADATA
# title: Person's token drives automation
# description: >-
#   The audit log shows this person's token at work in a pipeline, or from more
#   addresses a day than one person has. The pipeline stops when the person leaves, and
#   acts with all the person's rights until then.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-017
#   severity: medium
#   remedy: notify
#   remediation: >-
#     Give the pipeline a service principal of its own with OAuth or token federation,
#     then revoke the token. Many addresses and no pipeline may mean that the token was
#     copied: revoke it at once.
#   controls:
#     nist-800-53r5: ["IA-5", "SI-4"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI10"]
#   needs: [tokens, principals, audit_log]
#   params:
#     max_ips_per_day:
#       default: 3
#       description: Addresses from which a person may use one token on one day
#     agents:
#       default: [cicd/, github-actions, gitlab-runner, jenkins, azure-devops, bitbucket, circleci, buildkite, teamcity, airflow, azuredatafactory]
#       description: Texts, in any letter case, that a user agent of automation contains
package patrol.token.human_automation

deny contains finding if {
	input.owner.kind == "user"
	agents := [agent |
		some agent in input.token.audit_user_agents
		automated(agent)
	]
	count(agents) > 0
	finding := {
		"msg": sprintf("automation uses it (user agents: %v)", [count(agents)]),
		"automated_user_agents": agents,
	}
}

deny contains message if {
	input.owner.kind == "user"
	input.token.audit_max_ips_per_day > input.params.max_ips_per_day
	message := sprintf("used from %v addresses on one day, limit %v", [
		input.token.audit_max_ips_per_day,
		input.params.max_ips_per_day,
	])
}

automated(agent) if {
	some part in input.params.agents
	contains(lower(agent), lower(part))
}
