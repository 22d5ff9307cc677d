# METADATA
# title: Odd policy missing get
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-103
#   severity: low
#   remedy: manual
package patrol.token.missing_get

deny contains "fires" if object.get(input.owner, "name", "?") == "?"
