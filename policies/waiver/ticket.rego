# METADATA
# title: Waiver names no ticket of the expected form
# description: >-
#   A ticket ties the exception to the discussion and the approval behind it. Where an
#   organisation keeps those in a tracker, a waiver without its ticket cannot be followed up.
# schemas:
#   - input: schema.waiver
# custom:
#   id: WV-005
#   severity: low
#   remedy: manual
#   remediation: Name the ticket that the exception was approved in.
#   controls:
#     nist-800-53r5: ["CA-5"]
#   params:
#     pattern:
#       default: ""
#       description: Regular expression that a ticket must match in whole, such as OPS-[0-9]+; empty asks for no ticket
package patrol.waiver.ticket

deny contains message if {
	input.params.pattern != ""
	not regex.match(sprintf("^(?:%s)$", [input.params.pattern]), input.waiver.ticket)
	message := sprintf("ticket %q does not match %s", [input.waiver.ticket, input.params.pattern])
}
