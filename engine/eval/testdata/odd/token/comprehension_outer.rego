# METADATA
# title: Odd policy comprehension outer
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-020
#   severity: low
#   remedy: manual
package patrol.token.comprehension_outer

deny contains "fires" if {
	used := input.token.used
	count([1 | used == false; input.token.age_days > 14]) == 1
}
