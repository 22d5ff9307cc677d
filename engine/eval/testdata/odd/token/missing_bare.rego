# METADATA
# title: Odd policy missing bare
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-105
#   severity: low
#   remedy: manual
package patrol.token.missing_bare

deny contains "fires" if input.token.last_used_at
