# METADATA
# title: Odd policy as of
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-147
#   severity: low
#   remedy: manual
package patrol.token.as_of

deny contains "fires" if {
	input.as_of >= "2026"
	input.token.created_at < "2026-08-01"
}
