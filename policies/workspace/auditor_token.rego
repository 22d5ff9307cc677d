# METADATA
# title: The audit signs in with more than it needs
# description: >-
#   Whoever audits tokens needs the rights of an admin. A personal access token with
#   these rights is the kind of secret that the audit is about, and a credential that
#   can write can do more harm than an audit needs.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-007
#   severity: info
#   remedy: manual
#   remediation: >-
#     Sign in with OAuth, as a service principal that is a workspace admin, with the scopes
#     that reading needs and no more: access-management:read, authentication:read,
#     networking:read, scim:read, settings:read, and sql:restricted-query where usage is
#     read from a warehouse. Plans are applied with a credential of their own.
#   controls:
#     nist-800-53r5: ["AC-6", "IA-5"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI4", "NHI5"]
#   needs: [workspace]
package patrol.workspace.auditor_token

deny contains "patrol signs in with a personal access token" if input.workspace.caller.auth_type == "pat"

deny contains finding if {
	input.workspace.caller.auth_type != "pat"
	writing := [scope | some scope in input.workspace.caller.scopes; may_write(scope)]
	count(writing) > 0
	finding := {
		"msg": sprintf("patrol signs in with a credential that may write: its scopes include %s", [concat(", ", writing)]),
		"scopes": input.workspace.caller.scopes,
	}
}

# A scope without a modifier covers every operation of its APIs. Those of OpenID
# Connect are none of the platform's.
may_write(scope) if {
	not scope in {"email", "offline_access", "openid", "profile"}
	modifiers := array.slice(split(scope, ":"), 1, 9)
	not narrowed(modifiers)
}

narrowed(modifiers) if {
	count(modifiers) > 0
	every modifier in modifiers {
		modifier in {"read", "restricted-query"}
	}
}
