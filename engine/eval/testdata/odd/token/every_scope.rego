# METADATA
# title: Odd policy every scope
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-015
#   severity: low
#   remedy: manual
package patrol.token.every_scope

deny contains "fires" if {
	every scope in input.token.scopes {
		scope != "sql"
	}
}
