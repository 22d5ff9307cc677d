# METADATA
# title: Odd policy type test
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-096
#   severity: low
#   remedy: manual
package patrol.token.type_test

deny contains "fires" if is_string(input.token.comment)
