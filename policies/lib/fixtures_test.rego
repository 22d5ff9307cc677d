# METADATA
# title: Inputs for tests
# description: >-
#   A token and a workspace that no policy objects to. A test states only what
#   differs, so that the reader sees what matters.
package patrol.lib.fixtures

# METADATA
# description: The input of a token policy, with changes to the token, its owner or the workspace.
token(changes, params) := object.union_n([healthy, {"params": params}, changes])

# METADATA
# description: The input of a workspace policy, with changes to the workspace.
workspace(changes, params) := {
	"as_of": healthy.as_of,
	"params": params,
	"workspace": object.union(healthy.workspace, changes),
}

# METADATA
# description: The input of a waiver policy, with changes to the waiver, the policy it is about or the finding.
waiver(changes, params) := object.union_n([granted, {"params": params}, changes])

# METADATA
# description: The input of a policy over secrets, with changes to the secret.
secret(changes, params) := {
	"as_of": healthy.as_of,
	"params": params,
	"secret": object.union(rotated, changes),
	"workspace": healthy.workspace,
}

# METADATA
# description: A document without the given paths, as when they are unknown.
without(document, paths) := json.remove(document, paths)

person := {
	"id": "7000000000000000001",
	"kind": "user",
	"name": "ann@example.com",
	"display_name": "Ann Example",
	"active": true,
	"admin": false,
	"groups": ["data-engineers"],
	"live_tokens": 1,
}

healthy := {
	"as_of": "2026-11-01T00:00:00Z",
	"token": {
		"id": "00000000000000000000000000000000000000000000000000000000000000aa",
		"comment": "nightly export, OPS-12",
		"comment_secrets": [],
		"scopes": ["sql"],
		"autoscope_state": "user_selected",
		"inferred_scopes": [],
		"backfill_scopes": [],
		"owner_id": "7000000000000000001",
		"creator_id": "7000000000000000001",
		"creator_name": "ann@example.com",
		"created_at": "2026-10-02T00:00:00Z",
		"expires_at": "2026-12-01T00:00:00Z",
		"last_used_at": "2026-10-31T00:00:00Z",
		"created_ms": 1790899200000,
		"expires_ms": 1796083200000,
		"last_used_ms": 1793404800000,
		"age_days": 30,
		"lifetime_days": 60,
		"idle_days": 1,
		"used": true,
		"expires_in_days": 30,
		"never_expires": false,
		"expired": false,
		"on_behalf": false,
		"owner_expiring_near": 1,
		"workspace_expiring_near": 1,
		"in_previous_snapshot": true,
		"first_seen_at": "2026-10-02T12:00:00Z",
		"audit_events": 40,
		"audit_first_event_at": "2026-10-02T08:00:00Z",
		"audit_last_event_at": "2026-10-31T08:00:00Z",
		"audit_max_ips_per_day": 1,
		"audit_user_agents": ["databricks-sql-python/4.0"],
		"audit_days_used": 20,
		"audit_refused": 0,
		"audit_addresses": 1,
		"audit_calls": ["databrickssql/commandSubmit"],
		"unmapped_calls": [],
		"needed_scopes": ["sql"],
		"read_only_scopes": [],
		"writing_scopes": ["sql"],
	},
	"owner": person,
	"creator": person,
	"workspace": {
		"id": "1234567890123456",
		"name": "example",
		"host": "https://example.cloud.databricks.com",
		"cloud": "aws",
		"labels": {"env": "dev"},
		"settings": {
			"enableIpAccessLists": "true",
			"enableTokensConfig": "true",
			"enableVerboseAuditLogs": "true",
			"maxTokenLifetimeDays": "90",
		},
		"pats_enabled": true,
		"max_lifetime_days": 90,
		"lifetime_limited": true,
		"grants": [
			{"principal": "admins", "kind": "group", "level": "CAN_MANAGE", "inherited": true},
			{"principal": "token-users", "kind": "group", "level": "CAN_USE", "inherited": false},
		],
		"tokens": 10,
		"coverage": {"grants": "complete", "principals": "complete", "settings": "complete", "tokens": "complete"},
		"caller": {
			"id": "7000000000000000009",
			"name": "6d1c2a30-0000-4000-8000-000000000001",
			"kind": "service_principal",
			"auth_type": "oauth-m2m",
			"scopes": ["access-management:read", "authentication:read", "networking:read", "scim:read", "settings:read"],
			"admin": true,
		},
		"ip_access_lists": [{
			"id": "a1",
			"label": "office",
			"type": "ALLOW",
			"enabled": true,
			"addresses": ["192.0.2.0/24", "198.51.100.7"],
		}],
		"service_principal_secrets": [{
			"id": "5a7e",
			"service_principal_id": "7000000000000000009",
			"service_principal": "6d1c2a30-0000-4000-8000-000000000001",
			"display_name": "etl-runner",
			"status": "ACTIVE",
			"created_ms": 1790899200000,
			"expires_ms": 1822435200000,
			"scopes": ["sql"],
		}],
		"federation_policies": [{
			"id": "f1",
			"service_principal_id": "7000000000000000009",
			"service_principal": "6d1c2a30-0000-4000-8000-000000000001",
			"display_name": "etl-runner",
			"issuer": "https://token.actions.githubusercontent.com",
			"subject": "repo:example-org/etl:environment:prod",
			"subject_claim": "sub",
			"audiences": [],
			"own_keys": false,
		}],
		"restrict_workspace_admins": {"status": "RESTRICT_TOKENS_AND_JOB_RUN_AS", "disable_gov_tag_creation": false},
	},
}

rotated := {
	"id": "5a7e",
	"owner_id": "7000000000000000009",
	"owner_name": "6d1c2a30-0000-4000-8000-000000000001",
	"owner_display_name": "etl-runner",
	"status": "ACTIVE",
	"scopes": ["sql"],
	"created_at": "2026-10-02T00:00:00Z",
	"expires_at": "2027-10-02T00:00:00Z",
	"age_days": 30,
	"lifetime_days": 365,
	"expires_in_days": 335,
	"never_expires": false,
	"expired": false,
}

granted := {
	"as_of": healthy.as_of,
	"waiver": {
		"id": "W-1",
		"policies": ["PAT-016"],
		"workspace": "prod-*",
		"token": "3922b2f6*",
		"secret": "",
		"reason": "Partner connector cannot use OAuth before Q2.",
		"ticket": "OPS-1234",
		"approver": "security.lead@example.com",
		"created": "2026-11-01",
		"expires": "2027-02-01",
		"term_days": 92,
		"days_left": 92,
	},
	"policy": {"id": "PAT-016", "severity": "medium"},
	"finding": {
		"workspace": "prod-example",
		"workspace_id": "1234567890123456",
		"resource": "token",
		"resource_id": "3922b2f600000000000000000000000000000000000000000000000000000000",
		"owner": person.name,
		"owner_id": person.id,
	},
}

# What input.workspace.audit_changes has of one change that these people made.
authors(names) := {
	"text": sprintf("audit log: %s", [said(names)]),
	"count": count(names),
	"log_from": "2026-10-02T00:00:00Z",
	"log_until": "2026-10-31T23:00:00Z",
	"events": [event |
		some name in names
		event := {"at": "2026-10-31T09:00:00Z", "by": name, "action": "workspaceConfEdit"}
	],
}

said([]) := "names nobody"

said(names) := concat(", ", names) if count(names) > 0
