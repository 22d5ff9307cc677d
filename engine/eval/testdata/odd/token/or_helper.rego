# METADATA
# title: Odd policy or helper
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-022
#   severity: low
#   remedy: manual
package patrol.token.or_helper

deny contains "fires" if risky

risky if input.owner.admin

risky if input.token.never_expires

risky if {
	input.token.age_days > 180
	input.token.used == false
}
