# METADATA
# title: Odd policy some scope
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-009
#   severity: low
#   remedy: manual
package patrol.token.some_scope

deny contains "fires" if {
	some scope in input.token.scopes
	scope == "sql"
}
