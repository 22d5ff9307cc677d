# METADATA
# title: Odd policy judges expired
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-151
#   severity: low
#   remedy: manual
#   judges: expired
package patrol.token.judges_expired

deny contains "fires" if input.token.expired
