# METADATA
# title: Odd policy parties comment
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-115
#   severity: low
#   remedy: manual
package patrol.token.parties_comment

deny contains "fires" if contains(input.token.comment, lower(input.owner.name))
