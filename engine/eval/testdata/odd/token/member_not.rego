# METADATA
# title: Odd policy member not
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-125
#   severity: low
#   remedy: manual
package patrol.token.member_not

deny contains "fires" if not input.owner.kind in ["user"]
