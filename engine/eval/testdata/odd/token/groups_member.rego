# METADATA
# title: Odd policy groups member
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-116
#   severity: low
#   remedy: manual
package patrol.token.groups_member

deny contains "fires" if "everyone" in input.owner.groups
