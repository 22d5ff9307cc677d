# METADATA
# title: Odd policy truth order
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-099
#   severity: low
#   remedy: manual
package patrol.token.truth_order

deny contains "fires" if input.token.used < input.token.on_behalf
