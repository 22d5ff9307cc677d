# METADATA
# title: Odd policy number large
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-085
#   severity: low
#   remedy: manual
package patrol.token.number_large

deny contains "fires" if input.token.created_ms < 99999999999999999999999
