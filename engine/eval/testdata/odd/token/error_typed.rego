# METADATA
# title: Odd policy error typed
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-075
#   severity: low
#   remedy: manual
package patrol.token.error_typed

deny contains "fires" if {
	value := object.get({"tmp": 1}, input.token.comment, "x")
	lower(value) == "x"
	input.token.used
}
