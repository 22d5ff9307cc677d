# METADATA
# title: Odd policy comprehension object
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-019
#   severity: low
#   remedy: manual
package patrol.token.comprehension_object

deny contains "fires" if {
	lengths := {s: n | some s in input.token.scopes; n := count(s)}
	lengths.sql == 3
}
