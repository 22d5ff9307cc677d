# METADATA
# title: Odd policy function two
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-028
#   severity: low
#   remedy: manual
package patrol.token.function_two

deny contains "fires" if odd(input.token.age_days)

odd(n) if n > 365

odd(n) if n < 1
