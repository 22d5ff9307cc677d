# METADATA
# title: Odd policy not or
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-005
#   severity: low
#   remedy: manual
package patrol.token.not_or

deny contains "fires" if not fine

fine if input.token.used

fine if input.token.lifetime_days <= 90

fine if input.owner.kind == "service_principal"
