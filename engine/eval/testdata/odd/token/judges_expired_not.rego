# METADATA
# title: Odd policy judges expired not
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-152
#   severity: low
#   remedy: manual
#   judges: expired
package patrol.token.judges_expired_not

deny contains "fires" if not input.token.used
