# METADATA
# title: Odd policy object rule conflict
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-039
#   severity: low
#   remedy: manual
package patrol.token.object_rule_conflict

deny contains "fires" if seen.sql > 1

seen[scope] := n if some n, scope in array.concat(input.token.scopes, input.token.inferred_scopes)
