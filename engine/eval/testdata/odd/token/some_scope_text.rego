# METADATA
# title: Odd policy some scope text
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-010
#   severity: low
#   remedy: manual
package patrol.token.some_scope_text

deny contains message if {
	some scope in input.token.scopes
	startswith(lower(scope), "auth")
	message := sprintf("scope %s", [scope])
}
