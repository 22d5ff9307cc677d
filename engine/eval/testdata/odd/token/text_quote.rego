# METADATA
# title: Odd policy text quote
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-057
#   severity: low
#   remedy: manual
package patrol.token.text_quote

deny contains "fires" if input.token.comment == "a'b\"c%_"
