# METADATA
# title: Odd policy number negative
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-091
#   severity: low
#   remedy: manual
#   judges: all
package patrol.token.number_negative

deny contains "fires" if input.token.expires_in_days < -7
