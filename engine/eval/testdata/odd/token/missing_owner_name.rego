# METADATA
# title: Odd policy missing owner name
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-102
#   severity: low
#   remedy: manual
package patrol.token.missing_owner_name

deny contains "fires" if input.owner.name == ""
