# METADATA
# title: Odd policy null text
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-092
#   severity: low
#   remedy: manual
package patrol.token.null_text

deny contains "fires" if {
	some x in ["", null]
	input.token.comment == x
}
