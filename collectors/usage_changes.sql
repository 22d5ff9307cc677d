-- Who changed settings, grants and access lists, who made and revoked tokens, and of which time the log is.
-- days: how far back. workspace_id: '' for all.
WITH event AS (
  SELECT
    cast(workspace_id AS STRING) AS workspace_id,
    event_time,
    event_id,
    action_name,
    coalesce(user_identity.email, user_identity.subject_name, '') AS actor,
    coalesce(cast(response.status_code AS STRING), '') AS status_code,
    to_json(map_filter(request_params, (k, v) ->
      k IN ('workspaceConfKeys', 'workspaceConfValues', 'targetUserId', 'targetUserName', 'aclPermissionSet', 'tokenId'))) AS request_params,
    action_name IN ('generateDbToken', 'revokeDbToken', 'garbageCollectDbToken') AS of_token
  FROM system.access.audit
  WHERE event_date >= date_sub(current_date(), :days)
    AND workspace_id <> 0
    AND (:workspace_id = '' OR cast(workspace_id AS STRING) = :workspace_id)
),
change AS (
  SELECT *, row_number() OVER (PARTITION BY workspace_id, of_token ORDER BY event_time DESC, event_id) AS place
  FROM event
  WHERE of_token OR action_name IN ('workspaceConfEdit', 'changeDbTokenAcl', 'changeDatabricksTokenAcl',
    'createIpAccessList', 'updateIpAccessList', 'deleteIpAccessList')
)
SELECT workspace_id, date_format(to_utc_timestamp(event_time, current_timezone()), "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'") AS event_time, event_id, action_name, actor, status_code, request_params
FROM change WHERE place <= 10001
UNION ALL
SELECT workspace_id, date_format(to_utc_timestamp(min(event_time), current_timezone()), "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"), '', 'firstEvent', '', '', '' FROM event GROUP BY workspace_id
UNION ALL
SELECT workspace_id, date_format(to_utc_timestamp(max(event_time), current_timezone()), "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"), '', 'lastEvent', '', '', '' FROM event GROUP BY workspace_id
