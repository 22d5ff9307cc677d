# METADATA
# title: Odd policy null order
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-093
#   severity: low
#   remedy: manual
package patrol.token.null_order

deny contains "fires" if input.token.age_days > null
