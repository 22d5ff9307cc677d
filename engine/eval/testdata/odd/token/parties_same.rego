# METADATA
# title: Odd policy parties same
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-113
#   severity: low
#   remedy: manual
package patrol.token.parties_same

deny contains "fires" if input.token.owner_id == input.token.creator_id
