# METADATA
# title: Odd policy missing keys
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-107
#   severity: low
#   remedy: manual
package patrol.token.missing_keys

deny contains "fires" if not "expires_ms" in object.keys(input.token)
