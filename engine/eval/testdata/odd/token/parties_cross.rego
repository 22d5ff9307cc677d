# METADATA
# title: Odd policy parties cross
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-114
#   severity: low
#   remedy: manual
package patrol.token.parties_cross

deny contains "fires" if input.owner.name != input.creator.name
