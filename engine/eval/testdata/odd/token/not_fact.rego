# METADATA
# title: Odd policy not fact
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-001
#   severity: low
#   remedy: manual
package patrol.token.not_fact

deny contains "fires" if not input.token.used
