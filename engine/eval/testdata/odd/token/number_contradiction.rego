# METADATA
# title: Odd policy number contradiction
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-089
#   severity: low
#   remedy: manual
package patrol.token.number_contradiction

deny contains "fires" if {
	input.token.age_days > 10
	input.token.age_days < 5
}
