# METADATA
# title: Odd policy error time
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-078
#   severity: low
#   remedy: manual
package patrol.token.error_time

deny contains "fires" if time.parse_rfc3339_ns(input.token.created_at) < time.parse_rfc3339_ns(input.as_of) - 7776000000000000
