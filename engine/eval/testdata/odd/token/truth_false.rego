# METADATA
# title: Odd policy truth false
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-100
#   severity: low
#   remedy: manual
package patrol.token.truth_false

deny contains "fires" if input.owner.active == false
