# METADATA
# title: Odd policy error in comprehension
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-073
#   severity: low
#   remedy: manual
package patrol.token.error_in_comprehension

deny contains "fires" if {
	numbers := [n | some s in input.token.scopes; n := to_number(s)]
	count(numbers) > 3
	input.token.used
}
