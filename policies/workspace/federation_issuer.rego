# METADATA
# title: Federation policy trusts an unknown issuer
# description: >-
#   Whoever runs the issuer of a federation policy can sign in as the service principal,
#   or, with a policy of the account, as any of its people. An issuer that is not on
#   your list, or that is not addressed by https, deserves a question.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-014
#   severity: high
#   remedy: manual
#   remediation: >-
#     Remove the policy, or add the issuer to `issuers` of this policy's parameters once
#     you know whose it is.
#   controls:
#     nist-800-53r5: ["IA-5", "IA-8"]
#     iso-27001-2022: ["A.5.16"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI3"]
#   needs: [federation_policies]
#   params:
#     issuers:
#       default:
#         - https://token.actions.githubusercontent.com
#         - https://gitlab.com
#         - https://gitlab.com/*
#         - https://vstoken.dev.azure.com/*
#         - https://api.bitbucket.org/**
#         - https://oidc.circleci.com/**
#         - https://app.terraform.io
#       description: Globs of the issuers that you trust; add that of your own identity provider
package patrol.workspace.federation_issuer

deny contains finding if {
	some policy in input.workspace.federation_policies
	not trusted(policy.issuer)
	finding := {
		"msg": sprintf("federation policy %s of %s trusts %s", [policy.id, holder(policy), policy.issuer]),
		"federation_policies": policy.id,
		"issuers_found": policy.issuer,
	}
}

trusted(issuer) if {
	startswith(issuer, "https://")
	some pattern in input.params.issuers
	glob.match(pattern, ["/"], issuer)
}

holder(policy) := "the account" if policy.service_principal_id == ""

holder(policy) := sprintf("service principal %s", [policy.service_principal]) if policy.service_principal_id != ""
