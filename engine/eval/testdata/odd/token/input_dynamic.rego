# METADATA
# title: Odd policy input dynamic
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-109
#   severity: low
#   remedy: manual
package patrol.token.input_dynamic

deny contains "fires" if {
	some part in ["owner", "creator"]
	input[part].admin
}
