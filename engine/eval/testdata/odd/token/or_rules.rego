# METADATA
# title: Odd policy or rules
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-021
#   severity: low
#   remedy: manual
package patrol.token.or_rules

deny contains "fires" if input.token.never_expires

deny contains "fires too" if input.token.lifetime_days > 365

deny contains "and so" if input.owner.kind == "missing"
