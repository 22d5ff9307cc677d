# METADATA
# title: Odd policy object rule
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-037
#   severity: low
#   remedy: manual
package patrol.token.object_rule

deny contains "fires" if facts.age > 90

facts["age"] := input.token.age_days

facts["kind"] := input.owner.kind
