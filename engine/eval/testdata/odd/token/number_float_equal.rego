# METADATA
# title: Odd policy number float equal
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-084
#   severity: low
#   remedy: manual
package patrol.token.number_float_equal

deny contains "fires" if input.token.age_days == 90.0
