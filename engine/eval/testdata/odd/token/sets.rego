# METADATA
# title: Odd policy sets
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-123
#   severity: low
#   remedy: manual
package patrol.token.sets

deny contains "fires" if {
	scopes := {s | some s in input.token.scopes}
	count(scopes & {"sql", "tokens"}) > 0
	count(scopes - {"sql"}) > 0
}
