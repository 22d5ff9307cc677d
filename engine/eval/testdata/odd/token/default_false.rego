# METADATA
# title: Odd policy default false
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-024
#   severity: low
#   remedy: manual
package patrol.token.default_false

deny contains "fires" if flag

default flag := false

flag if input.token.on_behalf
