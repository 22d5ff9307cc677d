# METADATA
# title: Odd policy deny always
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-139
#   severity: low
#   remedy: manual
package patrol.token.deny_always

deny contains "always"
