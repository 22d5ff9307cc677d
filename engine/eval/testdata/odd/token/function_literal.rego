# METADATA
# title: Odd policy function literal
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-030
#   severity: low
#   remedy: manual
package patrol.token.function_literal

deny contains "fires" if weight(input.owner.kind) > 1

weight("user") := 1

weight("service_principal") := 2

weight("missing") := 3
