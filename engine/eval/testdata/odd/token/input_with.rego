# METADATA
# title: Odd policy input with
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-112
#   severity: low
#   remedy: manual
package patrol.token.input_with

deny contains "fires" if old with input.token as {"age_days": 100}

old if input.token.age_days > 90
