# METADATA
# title: Odd policy text affix reversed
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-049
#   severity: low
#   remedy: manual
package patrol.token.text_affix_reversed

deny contains "fires" if startswith("nightly export and more", input.token.comment)
