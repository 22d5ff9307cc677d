# METADATA
# title: Odd policy missing not
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-106
#   severity: low
#   remedy: manual
package patrol.token.missing_not

deny contains "fires" if not input.token.expires_in_days
