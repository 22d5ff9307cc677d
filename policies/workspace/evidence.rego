# METADATA
# title: Audit evidence is incomplete
# description: >-
#   Something of this workspace could not be read, or the platform does not record what
#   users do in detail. What was not seen cannot be called clean.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-006
#   severity: high
#   remedy: manual
#   remediation: >-
#     Give patrol's principal the rights that its coverage asks for, and set
#     enableVerboseAuditLogs to true.
#   controls:
#     nist-800-53r5: ["AU-12"]
#     iso-27001-2022: ["A.8.15"]
#     pci-dss-4: ["10.2"]
#     soc2: ["CC7.2"]
#   aliases: ["sat:GOV-15", "sat:GOV-34"]
#   needs: []
#   tolerates: [settings]
package patrol.workspace.evidence

deny contains message if {
	some section, status in input.workspace.coverage
	not status in {"complete", "off"}
	message := sprintf("%s: %s", [section, replace(status, "_", " ")])
}

deny contains "verbose audit logs are not on" if not verbose

verbose if lower(input.workspace.settings.enableVerboseAuditLogs) == "true"
