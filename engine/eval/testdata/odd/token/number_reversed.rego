# METADATA
# title: Odd policy number reversed
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-087
#   severity: low
#   remedy: manual
package patrol.token.number_reversed

deny contains "fires" if 90 < input.token.age_days
