# METADATA
# title: Odd policy not argument
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-007
#   severity: low
#   remedy: manual
package patrol.token.not_argument

deny contains "fires" if {
	comment := input.token.comment
	not blank(comment)
}

blank(text) if trim_space(text) == ""
