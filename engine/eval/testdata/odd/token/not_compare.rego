# METADATA
# title: Odd policy not compare
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-002
#   severity: low
#   remedy: manual
package patrol.token.not_compare

deny contains "fires" if not input.token.age_days > 90
