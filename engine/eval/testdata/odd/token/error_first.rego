# METADATA
# title: Odd policy error first
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-068
#   severity: low
#   remedy: manual
package patrol.token.error_first

deny contains "fires" if {
	to_number(input.token.comment) > 0
	input.token.used
}
