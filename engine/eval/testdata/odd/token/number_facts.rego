# METADATA
# title: Odd policy number facts
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-090
#   severity: low
#   remedy: manual
package patrol.token.number_facts

deny contains "fires" if input.token.idle_days == input.token.age_days
