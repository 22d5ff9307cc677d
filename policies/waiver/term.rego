# METADATA
# title: Waiver is granted for too long
# description: >-
#   An exception that outlives the people who agreed to it is a hole in the policy.
#   A waiver is granted for half a year at most, so that somebody looks at it again
#   before the year is over; a longer need is a new decision, or another policy.
# schemas:
#   - input: schema.waiver
# custom:
#   id: WV-001
#   severity: medium
#   remedy: manual
#   remediation: >-
#     Grant the waiver for a shorter time, counted from created to expires, and renew
#     it when the reason still holds.
#   controls:
#     nist-800-53r5: ["CA-5", "PL-4"]
#     iso-27001-2022: ["A.5.36"]
#     pci-dss-4: ["12.3.1"]
#   params:
#     max_term_days:
#       default: 180
#       description: Longest term of a waiver, in days from created to expires
package patrol.waiver.term

deny contains message if {
	input.waiver.term_days > input.params.max_term_days
	message := sprintf("granted for %v days, limit %v", [input.waiver.term_days, input.params.max_term_days])
}
