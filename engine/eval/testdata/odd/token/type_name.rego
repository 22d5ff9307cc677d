# METADATA
# title: Odd policy type name
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-097
#   severity: low
#   remedy: manual
package patrol.token.type_name

deny contains "fires" if type_name(input.token.expires_ms) == "number"
