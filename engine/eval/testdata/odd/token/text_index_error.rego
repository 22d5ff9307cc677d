# METADATA
# title: Odd policy text index error
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-054
#   severity: low
#   remedy: manual
#   params:
#     text: {default: "", description: A parameter}
package patrol.token.text_index_error

deny contains "fires" if indexof(input.token.comment, input.params.text) > 3
