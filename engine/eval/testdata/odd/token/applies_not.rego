# METADATA
# title: Odd policy applies not
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-128
#   severity: low
#   remedy: manual
package patrol.token.applies_not

applicable if not exempt

exempt if input.owner.kind == "service_principal"

exempt if startswith(lower(input.token.comment), "tmp")

deny contains "fires" if input.token.age_days > 30
