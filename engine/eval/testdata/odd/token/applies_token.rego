# METADATA
# title: Odd policy applies token
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-127
#   severity: low
#   remedy: manual
package patrol.token.applies_token

applicable if input.token.autoscope_state != ""

deny contains "fires" if input.token.autoscope_state == "disabled"
