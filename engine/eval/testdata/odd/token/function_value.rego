# METADATA
# title: Odd policy function value
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-029
#   severity: low
#   remedy: manual
package patrol.token.function_value

deny contains "fires" if double(input.token.age_days) > 180

double(n) := n * 2
