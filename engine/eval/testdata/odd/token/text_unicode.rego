# METADATA
# title: Odd policy text unicode
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-044
#   severity: low
#   remedy: manual
package patrol.token.text_unicode

deny contains "fires" if lower(input.token.comment) == "ärger ſ i̇"
