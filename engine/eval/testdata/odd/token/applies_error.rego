# METADATA
# title: Odd policy applies error
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-130
#   severity: low
#   remedy: manual
package patrol.token.applies_error

applicable if to_number(input.token.comment) == 1

deny contains "fires" if input.token.age_days > 30
