# METADATA
# title: Odd policy comprehension set
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-018
#   severity: low
#   remedy: manual
package patrol.token.comprehension_set

deny contains "fires" if {
	kinds := {k | some k in ["user", "missing"]; k == input.owner.kind}
	count(kinds) > 0
}
