# METADATA
# title: Odd policy long product
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-143
#   severity: low
#   remedy: manual
#   params:
#     list: {default: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], description: A parameter}
package patrol.token.long_product

deny contains "fires" if {
	some a in input.params.list
	some b in input.params.list
	input.token.age_days == a + b
}
