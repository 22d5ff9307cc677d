# METADATA
# title: Odd policy arithmetic
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-080
#   severity: low
#   remedy: manual
package patrol.token.arithmetic

deny contains "fires" if input.token.lifetime_days - input.token.age_days > 60
