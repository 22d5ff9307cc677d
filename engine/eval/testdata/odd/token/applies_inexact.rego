# METADATA
# title: Odd policy applies inexact
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-129
#   severity: low
#   remedy: manual
package patrol.token.applies_inexact

applicable if count([s | some s in input.token.scopes; s != "sql"]) > 0

deny contains "fires" if input.token.age_days > 30
