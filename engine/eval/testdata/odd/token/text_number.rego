# METADATA
# title: Odd policy text number
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-058
#   severity: low
#   remedy: manual
package patrol.token.text_number

deny contains "fires" if input.token.comment == "1"
