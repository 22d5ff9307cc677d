# METADATA
# title: Odd policy input field dynamic
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-110
#   severity: low
#   remedy: manual
package patrol.token.input_field_dynamic

deny contains "fires" if {
	some field in ["used", "expired"]
	input.token[field] == false
}
