# METADATA
# title: Odd policy not variable
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-008
#   severity: low
#   remedy: manual
package patrol.token.not_variable

deny contains "fires" if {
	some scope in input.token.scopes
	not scope in {"sql", "clusters"}
}
