# METADATA
# title: Odd policy truth unify
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-101
#   severity: low
#   remedy: manual
#   judges: all
package patrol.token.truth_unify

deny contains "fires" if {
	[used, expired] = [input.token.used, input.token.expired]
	used == expired
}
