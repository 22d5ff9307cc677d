# METADATA
# title: Odd policy rule conflict some
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-033
#   severity: low
#   remedy: manual
package patrol.token.rule_conflict_some

deny contains "fires" if scope == "sql"

scope := s if some s in input.token.scopes
