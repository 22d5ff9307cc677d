# METADATA
# title: Odd policy deny never
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-140
#   severity: low
#   remedy: manual
#   params:
#     on: {default: false, description: A parameter}
package patrol.token.deny_never

deny contains "fires" if input.params.on
