# METADATA
# title: Odd policy default helper
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-023
#   severity: low
#   remedy: manual
package patrol.token.default_helper

deny contains "fires" if limit < input.token.age_days

default limit := 90

limit := 30 if input.owner.admin
