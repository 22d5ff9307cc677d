# METADATA
# title: Odd policy error json
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-077
#   severity: low
#   remedy: manual
package patrol.token.error_json

deny contains "fires" if json.unmarshal(input.token.comment) == 1
