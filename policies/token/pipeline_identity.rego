# METADATA
# title: Pipeline with an identity of its own uses a token
# description: >-
#   The audit log shows this token at work in a pipeline whose platform issues OpenID
#   Connect tokens. The pipeline could sign in with these, which last minutes and cannot
#   be copied, in place of a token that is kept among its secrets.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-030
#   severity: medium
#   remedy: notify
#   remediation: >-
#     Make a federation policy for the pipeline's identity (`patrol migrate` writes it),
#     have the pipeline sign in by it, then revoke the token.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI4", "NHI10"]
#   needs: [tokens, audit_log]
#   params:
#     agents:
#       default: [cicd/github, github-actions, cicd/gitlab, gitlab-runner, cicd/azure-devops, azure-devops, cicd/bitbucket, bitbucket, cicd/circle, circleci, cicd/tf-cloud]
#       description: Texts, in any letter case, that the user agent of a pipeline with an identity of its own contains
package patrol.token.pipeline_identity

deny contains finding if {
	agents := [agent |
		some agent in input.token.audit_user_agents
		identified(agent)
	]
	count(agents) > 0
	finding := {
		"msg": "a pipeline uses it that has an identity of its own",
		"pipeline_user_agents": agents,
	}
}

identified(agent) if {
	some part in input.params.agents
	contains(lower(agent), lower(part))
}
