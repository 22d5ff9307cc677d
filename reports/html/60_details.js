// Details of a finding or a token, in a dialog: the browser keeps focus in it
// and gives it back.

class Details {
  constructor(data) {
    this.data = data;
    this.dialog = byId('details');
    byId('details-close').addEventListener('click', () => this.dialog.close());
    this.dialog.addEventListener('click', event => { if (event.target === this.dialog) this.dialog.close(); });
    addEventListener('hashchange', () => this.dialog.close());
  }

  show(title, ...parts) {
    byId('details-title').textContent = title;
    byId('details-body').replaceChildren(...parts.filter(Boolean));
    if (!this.dialog.open) this.dialog.showModal();
    byId('details-body').scrollTop = 0;
    byId('details-title').focus();
  }

  finding(row) {
    const {findings, tokens} = this.data, {at} = findings;
    const token = findings.token[row];
    this.show(at.title[row],
      make('p', {class: 'tags'}, mark(at.severity[row]), make('span', {}, words(at.status[row]))),
      make('p', {}, at.message[row]),
      pairs([
        ['Policy', make('a', {href: `#policy/${encodeURIComponent(at.policy[row])}`}, `${at.policy[row]} ${at.title[row]}`)],
        ['Workspace', `${at.workspace[row]} (${at.workspace_id[row]})`],
        [heading(at.resource[row]), at.resource[row] === 'workspace' ? '' : at.resource_id[row]],
        ['Owner', at.owner[row] && make('a', {href: address('findings', new URLSearchParams({owner: at.owner[row]}))}, at.owner[row])],
        ['Comment', token >= 0 && full(tokens.at.comment[token])],
        ['Last used', token >= 0 && full(tokens.at.last_used_at[token], 'date')],
        ['Since', full(at.since[row], 'date')],
        ['Remedy', words(at.remedy[row])],
        ['Fingerprint', at.fingerprint[row]],
      ]),
      ...this.remediation(at.policy[row]),
      ...evidence(at.evidence[row]),
      ...this.waiver(row),
      token >= 0 && this.button('Show the token', () => this.token(token)));
  }

  // remediation is what the policy's own page says.
  remediation(policy) {
    const page = byId(`policy/${policy}`)?.querySelector('.remediation');
    return page ? [make('h3', {}, 'What to do'), ...[...page.children].map(part => part.cloneNode(true))] : [];
  }

  waiver(row) {
    const {at} = this.data.findings;
    if (!at.waiver_id[row]) return [];
    return [make('h3', {}, 'Waiver'), pairs(['id', 'reason', 'ticket', 'approver', 'expires'].map(name => [heading(name), at[`waiver_${name}`][row]]))];
  }

  token(row) {
    const {tokens, findings} = this.data, {at} = tokens;
    const rows = findingsOf(findings, row);
    const title = at.comment[row] === UNKNOWN || at.comment[row] === '' ? `Token ${shortId(at.token_id[row])}` : cut(at.comment[row]);
    this.show(title,
      make('h3', {}, rows.length ? plural(rows.length, 'finding') : 'No finding'),
      rows.length > 0 && make('ul', {class: 'list'}, ...rows.map(finding => make('li', {}, this.entry(finding)))),
      make('h3', {}, 'Facts'),
      pairs(tokens.kinds.map(([name, kind]) => [heading(name), full(at[name][row], kind)])));
  }

  // entry is a finding in the list of a token.
  entry(row) {
    const {at} = this.data.findings;
    const button = this.button('', () => this.finding(row));
    button.replaceChildren(mark(at.severity[row]), ' ', make('span', {class: 'id'}, at.policy[row]), ` ${cut(at.message[row])}`, at.status[row] === 'fail' ? '' : ` (${words(at.status[row])})`);
    return button;
  }

  button(text, run) {
    const button = make('button', {type: 'button', class: 'link'}, text);
    button.addEventListener('click', run);
    return button;
  }
}

// full is a value in all its length. The platform tells a last use by the day: 2026-11-18, not 2026-11-18T00:00:00Z.
const full = (value, kind) => (kind === 'date' && typeof value === 'number' ? iso(value).replace('T00:00:00Z', '') : shown(value, kind));

// pairs lists names and values; what is empty is left out.
function pairs(entries) {
  const rows = entries.filter(([, value]) => value !== '' && value !== false && value !== null && value !== undefined);
  return make('dl', {class: 'pairs'}, ...rows.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value))));
}

function evidence(text) {
  if (!text) return [];
  let values;
  try { values = JSON.parse(text); } catch { return [make('h3', {}, 'Evidence'), make('p', {class: 'id'}, text)]; }
  const entries = Object.entries(values).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]);
  return [make('h3', {}, 'Evidence'), pairs(entries)];
}
