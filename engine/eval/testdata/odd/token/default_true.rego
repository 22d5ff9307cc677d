# METADATA
# title: Odd policy default true
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-025
#   severity: low
#   remedy: manual
package patrol.token.default_true

deny contains "fires" if flag

default flag := true

flag := false if input.token.used
