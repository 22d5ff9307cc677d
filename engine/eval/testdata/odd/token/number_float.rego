# METADATA
# title: Odd policy number float
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-083
#   severity: low
#   remedy: manual
package patrol.token.number_float

deny contains "fires" if input.token.age_days > 89.5
