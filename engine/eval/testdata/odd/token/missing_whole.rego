# METADATA
# title: Odd policy missing whole
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-104
#   severity: low
#   remedy: manual
package patrol.token.missing_whole

deny contains "fires" if count(input.owner) < 4
