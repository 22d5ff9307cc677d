-- One row a token that was used, by token id, and one for the whole log, with the id '*'.
-- days: how far back. workspace_id: '' for all. after: the last token id of the page before. page: rows at most.
WITH log AS (
  SELECT
    cast(workspace_id AS STRING) AS workspace_id,
    request_params['tokenId'] AS token_id,
    request_params['authenticationMethod'] AS method,
    event_time, event_date, service_name, action_name,
    left(user_agent, 200) AS user_agent,
    coalesce(response.status_code, 0) AS status,
    -- the address without its port: [2001:db8::1]:443, 192.0.2.1:443
    regexp_replace(regexp_replace(coalesce(source_ip_address, ''), '^\\[(.*)\\](:[0-9]+)?$', '$1'), '^([0-9.]+):[0-9]+$', '$1') AS ip
  FROM system.access.audit
  WHERE event_date >= date_sub(current_date(), :days)
    AND workspace_id <> 0
    AND (:workspace_id = '' OR cast(workspace_id AS STRING) = :workspace_id)
),
event AS (
  SELECT * FROM log WHERE method = 'API_EXT_PAT_TOKEN' AND token_id > :after
),
page AS (
  SELECT workspace_id, token_id, count(*) AS events, min(event_time) AS first_event, max(event_time) AS last_event,
    count(DISTINCT event_date) AS days_used,
    count_if(status BETWEEN 200 AND 299) AS succeeded, count_if(status IN (401, 403)) AS refused
  FROM event GROUP BY ALL ORDER BY token_id LIMIT :page
),
day AS (
  SELECT workspace_id, token_id, event_date, count(DISTINCT nullif(ip, '')) AS ips FROM event GROUP BY ALL
),
most AS (
  SELECT workspace_id, token_id, max(ips) AS max_ips_per_day FROM day GROUP BY ALL
),
address AS (
  SELECT workspace_id, token_id, ip, count(*) AS events FROM event WHERE ip <> '' GROUP BY ALL
),
addresses AS (
  SELECT workspace_id, token_id, count(*) AS addresses, max_by(ip, events) AS top_address FROM address GROUP BY ALL
),
agent AS (
  SELECT workspace_id, token_id, user_agent, count(*) AS events FROM event WHERE user_agent <> '' GROUP BY ALL
),
agents AS (
  SELECT workspace_id, token_id,
    to_json(transform(slice(array_sort(collect_list(struct(-events AS n, user_agent))), 1, 50), a -> a.user_agent)) AS user_agents
  FROM agent GROUP BY ALL
),
call AS (
  SELECT workspace_id, token_id, service_name AS service, action_name AS action, count(*) AS events, count_if(status IN (401, 403)) AS refused
  FROM event GROUP BY ALL
),
calls AS (
  SELECT workspace_id, token_id, count(*) AS distinct_calls,
    to_json(slice(array_sort(collect_list(struct(service, action, events, refused))), 1, 200)) AS calls
  FROM call GROUP BY ALL
)
SELECT workspace_id, token_id, cast(events AS STRING) AS events,
  date_format(to_utc_timestamp(first_event, current_timezone()), "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'") AS first_event,
  date_format(to_utc_timestamp(last_event, current_timezone()), "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'") AS last_event,
  cast(coalesce(max_ips_per_day, 0) AS STRING) AS max_ips_per_day, coalesce(user_agents, '[]') AS user_agents,
  cast(days_used AS STRING) AS days_used, cast(succeeded AS STRING) AS succeeded, cast(refused AS STRING) AS refused,
  cast(coalesce(addresses, 0) AS STRING) AS addresses, top_address,
  cast(distinct_calls AS STRING) AS distinct_calls, calls
FROM page
  LEFT JOIN most USING (workspace_id, token_id) LEFT JOIN addresses USING (workspace_id, token_id)
  LEFT JOIN agents USING (workspace_id, token_id) LEFT JOIN calls USING (workspace_id, token_id)
UNION ALL
SELECT workspace_id, '*', cast(count(*) AS STRING),
  date_format(to_utc_timestamp(min(event_time), current_timezone()), "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"), date_format(to_utc_timestamp(max(event_time), current_timezone()), "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"),
  '0', '[]', '0', '0', '0', '0', NULL, '0', '[]'
FROM log WHERE :after = '' GROUP BY workspace_id
ORDER BY token_id, workspace_id
