# METADATA
# title: Odd policy truth compare
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-098
#   severity: low
#   remedy: manual
#   judges: all
package patrol.token.truth_compare

deny contains "fires" if input.token.used != input.token.expired
