# METADATA
# title: Odd policy number exponent
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-086
#   severity: low
#   remedy: manual
package patrol.token.number_exponent

deny contains "fires" if input.token.expires_ms > 1.79e12
