# METADATA
# title: Odd policy some pair
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-012
#   severity: low
#   remedy: manual
package patrol.token.some_pair

deny contains "fires" if {
	some i, j
	input.token.scopes[i] == input.token.inferred_scopes[j]
}
