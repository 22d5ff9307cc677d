# METADATA
# title: Odd policy rule value
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-035
#   severity: low
#   remedy: manual
package patrol.token.rule_value

deny contains "fires" if age > 30

age := input.token.age_days
