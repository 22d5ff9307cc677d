# METADATA
# title: Odd policy among near
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-150
#   severity: low
#   remedy: manual
package patrol.token.among_near

deny contains "fires" if input.token.owner_expiring_near > 2
