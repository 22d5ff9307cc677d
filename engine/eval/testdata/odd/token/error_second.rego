# METADATA
# title: Odd policy error second
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-069
#   severity: low
#   remedy: manual
package patrol.token.error_second

deny contains "fires" if {
	input.token.used
	to_number(input.token.comment) > 0
}
