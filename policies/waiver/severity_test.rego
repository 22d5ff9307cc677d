package patrol.waiver.severity_test

import data.patrol.lib.fixtures
import data.patrol.waiver.severity

params := {"never_severities": ["critical"], "never_policies": []}

test_critical_fires if {
	findings := severity.deny with input as fixtures.waiver({"policy": {"severity": "critical"}}, params)
	findings == {"PAT-016 is critical: it may not be waived"}
}

test_high_is_silent if {
	findings := severity.deny with input as fixtures.waiver({"policy": {"severity": "high"}}, params)
	findings == set()
}

test_another_severity_fires if {
	findings := severity.deny with input as fixtures.waiver({}, object.union(params, {"never_severities": ["critical", "Medium"]}))
	findings == {"PAT-016 is medium: it may not be waived"}
}

test_named_policy_fires if {
	findings := severity.deny with input as fixtures.waiver({}, object.union(params, {"never_policies": ["pat-016"]}))
	findings == {"PAT-016 may not be waived"}
}

test_another_policy_is_silent if {
	findings := severity.deny with input as fixtures.waiver({}, object.union(params, {"never_policies": ["PAT-001"]}))
	findings == set()
}

test_nothing_forbidden_is_silent if {
	subject := fixtures.waiver({"policy": {"severity": "critical"}}, {"never_severities": [], "never_policies": []})
	findings := severity.deny with input as subject
	findings == set()
}
