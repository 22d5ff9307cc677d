# METADATA
# title: Odd policy comprehension count
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-017
#   severity: low
#   remedy: manual
package patrol.token.comprehension_count

deny contains "fires" if count([s | some s in input.token.scopes; s != "sql"]) > 1
