# METADATA
# title: Odd policy groups not member
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-117
#   severity: low
#   remedy: manual
package patrol.token.groups_not_member

deny contains "fires" if not "everyone" in input.owner.groups
