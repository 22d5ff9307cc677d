# METADATA
# title: Odd policy object rule dynamic
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-038
#   severity: low
#   remedy: manual
package patrol.token.object_rule_dynamic

deny contains "fires" if seen[input.owner.kind] == true

seen[kind] := true if some kind in ["user", "missing"]
