# METADATA
# title: Odd policy not rule
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-003
#   severity: low
#   remedy: manual
package patrol.token.not_rule

deny contains "fires" if not young

young if input.token.age_days < 30
