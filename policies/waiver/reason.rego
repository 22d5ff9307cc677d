# METADATA
# title: Waiver gives no reason worth the name
# description: >-
#   An auditor who reads the report a year later has nothing but the reason to judge by.
#   One word tells nobody why the exception was right.
# schemas:
#   - input: schema.waiver
# custom:
#   id: WV-004
#   severity: low
#   remedy: manual
#   remediation: Say what stands in the way, and what will end the exception.
#   controls:
#     nist-800-53r5: ["CA-5"]
#     iso-27001-2022: ["A.5.36"]
#   params:
#     min_length:
#       default: 15
#       description: Fewest characters of a reason
package patrol.waiver.reason

deny contains message if {
	length := count(trim_space(input.waiver.reason))
	length < input.params.min_length
	message := sprintf("reason of %v characters, want at least %v", [length, input.params.min_length])
}
