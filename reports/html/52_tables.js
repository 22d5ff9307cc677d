// What the two tables show and how they filter.

function choicesOf(values) { return [...new Set(values)].map(value => [value, words(value)]); }

function findingsView(data, open) {
  const {findings} = data, {at} = findings;
  const policies = new Map(at.policy.map((id, i) => [id, at.title[i]]));
  const fields = [
    {key: 'q', label: 'Search', hint: 'text, owner, policy, id', kind: 'text', test: search(findings, ['message', 'owner', 'policy', 'title', 'workspace', 'resource_id', 'waiver_reason', 'fingerprint'])},
    {key: 'policy', label: 'Policy', kind: 'choice', choices: [...policies].sort().map(([id, title]) => [id, `${id} ${title}`]), test: equals(at.policy)},
    {key: 'workspace', label: 'Workspace', kind: 'choice', choices: data.workspaces, test: equals(at.workspace_id)},
    {key: 'owner', label: 'Owner', kind: 'text', test: contains(at.owner)},
    ...dates('since', 'Since', at.since),
    {key: 'severity', label: 'Severity', kind: 'set', choices: SEVERITIES.map(level => [level, level]), test: oneOf(at.severity)},
    {key: 'status', label: 'Status', kind: 'set', choices: ['fail', 'unknown', 'error', 'waived', 'baselined'].map(status => [status, status]), test: oneOf(at.status)},
  ];
  const columns = [
    {key: 'severity', label: 'Severity', values: at.severity.map(level => SEVERITIES.indexOf(level)), cell: row => mark(at.severity[row])},
    {key: 'status', label: 'Status', values: at.status, cell: row => words(at.status[row])},
    {key: 'policy', label: 'Policy', values: at.policy, cell: row => make('span', {title: at.title[row]}, make('span', {class: 'id'}, at.policy[row]), ' ', at.title[row])},
    {key: 'message', label: 'Finding', values: at.message, cell: row => cut(at.message[row])},
    {key: 'since', label: 'Since', values: at.since, cell: row => (at.since[row] === null ? make('span', {class: 'faint'}, 'unknown') : moment(at.since[row]))},
    {key: 'owner', label: 'Owner', values: at.owner, cell: row => cut(at.owner[row])},
    {key: 'workspace', label: 'Workspace', values: at.workspace, cell: row => cut(at.workspace[row])},
    {key: 'resource_id', label: 'Resource', values: at.resource_id, cell: row => make('span', {class: 'id'}, at.resource[row] === 'workspace' ? 'workspace' : shortId(at.resource_id[row]))},
  ];
  return new TableView({table: findings, noun: 'finding', fields, columns, open});
}

// dates are the two ends of a filter by day.
const dates = (name, label, values) => [
  {key: `${name}_from`, label: 'from', group: label, kind: 'from', test: from(values)},
  {key: `${name}_to`, label: 'to', group: label, kind: 'to', test: to(values)},
];

function tokensView(data, open) {
  const {tokens} = data, {at} = tokens;
  const fields = [
    {key: 'q', label: 'Search', hint: 'comment, owner, id', kind: 'text', test: search(tokens, ['comment', 'owner', 'owner_id', 'creator', 'token_id', 'workspace', 'scopes'])},
    {key: 'workspace', label: 'Workspace', kind: 'choice', choices: data.workspaces, test: equals(at.workspace_id)},
    {key: 'owner', label: 'Owner', kind: 'text', test: contains(at.owner, at.owner_id)},
    ...dates('created', 'Created', at.created_at), ...dates('expires', 'Expires', at.expires_at), ...dates('used', 'Last used', at.last_used_at),
    {key: 'expiry', label: 'Expiry', kind: 'choice', choices: [['live', 'not expired'], ['coming', 'still to come'], ['expired', 'expired'], ['unknown', 'unknown']], test: expiry(at)},
    {key: 'use', label: 'Use', kind: 'choice', choices: [['used', 'used'], ['never', 'never used'], ['unknown', 'unknown']], test: use(at)},
    {key: 'inactive', label: 'Inactive owners', group: 'Only', kind: 'flag', test: row => at.owner_active[row] === false},
    {key: 'endless', label: 'No expiry', group: 'Only', kind: 'flag', test: row => at.never_expires[row] === true},
    {key: 'open', label: 'Open findings', group: 'Only', kind: 'flag', test: row => tokens.open[row] > 0},
    {key: 'age', label: 'Made', kind: 'range', test: inRange(at.age_days)},
    {key: 'idle', label: 'Idle', kind: 'range', test: inRange(at.idle_days)},
  ];
  const columns = [
    {key: 'open', label: 'Findings', values: tokens.worst.map((worst, i) => worst * 1e6 - tokens.open[i]), cell: row => openFindings(tokens, row)},
    {key: 'comment', label: 'Comment', values: at.comment, cell: row => comment(at.comment[row])},
    {key: 'owner', label: 'Owner', values: at.owner, cell: row => owner(at, row)},
    {key: 'workspace', label: 'Workspace', values: at.workspace, cell: row => cut(at.workspace[row])},
    {key: 'created_at', label: 'Created', values: at.created_at, cell: row => moment(at.created_at[row])},
    {key: 'expires_at', label: 'Expires', values: at.expires_at, cell: row => moment(at.expires_at[row], at.expired[row] === true && 'expired')},
    {key: 'last_used_at', label: 'Last used', values: at.last_used_at, cell: row => moment(at.last_used_at[row])},
    {key: 'token_id', label: 'Token', values: at.token_id, cell: row => make('span', {class: 'id'}, shortId(at.token_id[row]))},
  ];
  return new TableView({table: tokens, noun: 'token', fields, columns, open});
}

const expiry = at => (row, wanted) => ({
  live: at.expired[row] !== true,
  coming: typeof at.expires_at[row] === 'number' && at.expired[row] === false,
  expired: at.expired[row] === true,
  unknown: at.expires_at[row] === UNKNOWN,
})[wanted];

const use = at => (row, wanted) => ({used: at.used[row] === true, never: at.used[row] === false, unknown: at.used[row] === UNKNOWN})[wanted];

function openFindings(tokens, row) {
  if (tokens.open[row] === 0) return make('span', {class: 'faint'}, 'none');
  return make('span', {}, mark(SEVERITIES[tokens.worst[row]]), ` ${tokens.open[row]}`);
}

function comment(value) {
  if (value === '' || value === UNKNOWN) return make('span', {class: 'faint'}, value === '' ? 'no comment' : 'unknown');
  return cut(value);
}

// owner marks those who can no longer answer for their tokens.
function owner(at, row) {
  if (at.owner[row] === UNKNOWN) return make('span', {class: 'faint'}, 'unknown');
  const state = at.owner_kind[row] === 'missing' ? 'missing' : at.owner_active[row] === false ? 'inactive' : '';
  return make('span', {}, state && make('span', {class: 'mark unknown'}, state), state && ' ', cut(at.owner[row]));
}

function moment(value, past) {
  if (typeof value !== 'number') return make('span', {class: value === UNKNOWN ? 'faint' : ''}, shown(value));
  return make('time', {datetime: iso(value), class: past ? 'faint' : ''}, day(value));
}
