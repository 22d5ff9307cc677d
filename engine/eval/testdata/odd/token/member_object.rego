# METADATA
# title: Odd policy member object
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-126
#   severity: low
#   remedy: manual
package patrol.token.member_object

deny contains "fires" if input.token.age_days in {"a": 90, "b": 91}
