# METADATA
# title: Odd policy text affix
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-048
#   severity: low
#   remedy: manual
package patrol.token.text_affix

deny contains "fires" if startswith(input.token.comment, "night")

deny contains "ends" if endswith(input.token.comment, "temp")
