# METADATA
# title: Odd policy error in negation
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-072
#   severity: low
#   remedy: manual
package patrol.token.error_in_negation

deny contains "fires" if {
	not to_number(input.token.comment) == 1
	input.token.age_days > 365
}
