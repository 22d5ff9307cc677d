# METADATA
# title: Odd policy applies default
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-132
#   severity: low
#   remedy: manual
package patrol.token.applies_default

default applicable := false

applicable if input.owner.admin

deny contains "fires" if input.token.age_days > 30
