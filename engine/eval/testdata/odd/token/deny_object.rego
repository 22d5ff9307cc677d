# METADATA
# title: Odd policy deny object
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-135
#   severity: low
#   remedy: manual
package patrol.token.deny_object

deny contains finding if {
	input.token.age_days > 90
	finding := {"msg": "old", "age": input.token.age_days, "scopes": input.token.scopes}
}
