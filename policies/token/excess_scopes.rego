# METADATA
# title: Unrestricted token uses only some scopes
# description: >-
#   The token may call every API, yet the platform, and the audit log where it was
#   read, saw that it needs only a few. What it does not need helps only a thief.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-014
#   severity: high
#   remedy: narrow-scopes
#   remediation: Narrow the token to the scopes that were observed in use.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-6"]
#     iso-27001-2022: ["A.5.17", "A.8.3"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI5"]
#   needs: [tokens]
package patrol.token.excess_scopes

# Without a finished observation of the platform there is nothing to compare with
# (the audit log alone does not have every call), nor where nobody can tell which
# scope a call took. Sets that are unknown leave the policy
# applicable, so that the result is unknown as well.
applicable if {
	not unobserved
	not untold
}

unobserved if input.token.autoscope_state in {"api_not_covered", "running"}

unobserved if {
	count(input.token.inferred_scopes) == 0
	count(input.token.backfill_scopes) == 0
}

untold if count(input.token.unmapped_calls) > 0

deny contains finding if {
	unrestricted(input.token.scopes)
	not unrestricted(input.token.needed_scopes)
	finding := {
		"msg": sprintf("unrestricted, observed use needs only %s", [concat(", ", input.token.needed_scopes)]),
		"observed_scopes": input.token.needed_scopes,
	}
}

unrestricted(scopes) if count(scopes) == 0

unrestricted(scopes) if "all-apis" in scopes
