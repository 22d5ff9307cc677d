// The data blocks. A table is columns of equal length: table.at.comment[17].

function readTable(name) {
  const kinds = JSON.parse(document.querySelector(`script[data-columns="${name}"]`).textContent);
  const table = {name, rows: 0, kinds, kind: Object.fromEntries(kinds), at: {}};
  for (const [column] of kinds) table.at[column] = [];
  for (const block of document.querySelectorAll(`script[data-rows="${name}"]`)) {
    const {rows, ...columns} = JSON.parse(block.textContent);
    for (const [column] of kinds) unpack(columns[column], rows, table.at[column]);
    table.rows += rows;
  }
  return table;
}

// unpack appends the values of a column in one of its three forms.
function unpack(packed, rows, to) {
  if (Array.isArray(packed)) {
    for (const value of packed) to.push(revive(value));
    return;
  }
  if ('all' in packed) {
    const value = revive(packed.all);
    for (let i = 0; i < rows; i++) to.push(value);
    return;
  }
  const values = packed.of.map(revive);
  for (const place of packed.at) to.push(values[place]);
}

function revive(value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return value.is === 'never' ? NEVER : UNKNOWN;
}

// The status of findings that ask for something to be done.
const OPEN = new Set(['fail', 'unknown', 'error']);
const SEVERITIES = ['critical', 'high', 'medium', 'low', 'info'];

const tokenKey = (workspace, token) => `${workspace}/${token}`;

// join gives every token its findings: how many are open, and the worst of them.
function join(tokens, findings) {
  const {workspace_id: workspaces, token_id: ids} = tokens.at;
  const rows = new Map();
  for (let i = 0; i < tokens.rows; i++) rows.set(tokenKey(workspaces[i], ids[i]), i);
  const open = new Array(tokens.rows).fill(0);
  const worst = new Array(tokens.rows).fill(SEVERITIES.length);
  const {workspace_id: places, resource, resource_id: resources, status, severity} = findings.at;
  findings.token = new Int32Array(findings.rows).fill(-1);
  for (let i = 0; i < findings.rows; i++) {
    const token = resource[i] === 'token' ? rows.get(tokenKey(places[i], resources[i])) : undefined;
    if (token === undefined) continue;
    findings.token[i] = token;
    if (!OPEN.has(status[i])) continue;
    open[token]++;
    worst[token] = Math.min(worst[token], SEVERITIES.indexOf(severity[i]));
  }
  tokens.open = open;
  tokens.worst = worst;
}

// findingsOf lists the rows of a token's findings.
function findingsOf(findings, token) {
  const rows = [];
  for (let i = 0; i < findings.rows; i++) if (findings.token[i] === token) rows.push(i);
  return rows;
}

// workspaceChoices lists the workspaces of both tables as [id, label], by label.
function workspaceChoices(...tables) {
  const names = new Map();
  for (const {rows, at} of tables) {
    for (let i = 0; i < rows; i++) names.set(at.workspace_id[i], at.workspace[i]);
  }
  const labels = [...names.values()];
  const label = ([id, name]) => [id, labels.indexOf(name) === labels.lastIndexOf(name) ? name : `${name} (${id})`];
  return [...names].map(label).sort((a, b) => (a[1] < b[1] ? -1 : 1));
}
