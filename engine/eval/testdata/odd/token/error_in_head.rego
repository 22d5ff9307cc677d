# METADATA
# title: Odd policy error in head
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-074
#   severity: low
#   remedy: manual
package patrol.token.error_in_head

deny contains sprintf("%v", [to_number(input.token.comment)]) if input.token.age_days > 90
