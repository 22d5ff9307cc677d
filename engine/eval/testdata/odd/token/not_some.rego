# METADATA
# title: Odd policy not some
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-006
#   severity: low
#   remedy: manual
package patrol.token.not_some

deny contains "fires" if not narrow

narrow if {
	some scope in input.token.scopes
	scope == "sql"
}
