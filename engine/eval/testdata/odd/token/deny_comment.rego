# METADATA
# title: Odd policy deny comment
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-141
#   severity: low
#   remedy: manual
package patrol.token.deny_comment

deny contains input.token.comment if input.token.used == false
