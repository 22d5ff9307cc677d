# METADATA
# title: Odd policy error in helper
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-071
#   severity: low
#   remedy: manual
package patrol.token.error_in_helper

deny contains "fires" if {
	strange
	input.token.age_days > 365
}

strange if to_number(input.token.comment) == 1
