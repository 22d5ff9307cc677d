# METADATA
# title: Odd policy text split
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-051
#   severity: low
#   remedy: manual
package patrol.token.text_split

deny contains "fires" if split(input.token.comment, " ")[0] == "nightly"
