# METADATA
# title: Odd policy member set
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-124
#   severity: low
#   remedy: manual
package patrol.token.member_set

deny contains "fires" if input.owner.kind in {"missing", "service_principal"}
