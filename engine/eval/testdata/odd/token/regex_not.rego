# METADATA
# title: Odd policy regex not
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-060
#   severity: low
#   remedy: manual
package patrol.token.regex_not

deny contains "fires" if not regex.match(`[A-Z]+-[0-9]+`, input.token.comment)
