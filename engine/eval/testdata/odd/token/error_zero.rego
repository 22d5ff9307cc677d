# METADATA
# title: Odd policy error zero
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-076
#   severity: low
#   remedy: manual
package patrol.token.error_zero

deny contains "fires" if 100 / input.token.age_days > 1
