# METADATA
# title: Odd policy judges all
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-153
#   severity: low
#   remedy: manual
#   judges: all
package patrol.token.judges_all

deny contains "fires" if input.token.idle_days > 90
