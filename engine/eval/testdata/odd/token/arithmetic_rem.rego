# METADATA
# title: Odd policy arithmetic rem
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-081
#   severity: low
#   remedy: manual
package patrol.token.arithmetic_rem

deny contains "fires" if input.token.age_days % 2 == 1
