// The expiry calendar: on which days (UTC) tokens end, and which of those days
// are cliffs, when much stops working at once.

const MONTHS = 24; // shown; what ends later is counted
const MONTH = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];
const LEAST_CLIFF = 10; // tokens
const STEEP = 4; // times the average of the days on which any token ends
const STEPS = [0.2, 0.5, 1]; // parts of a cliff at which a day is drawn stronger

class Calendar {
  constructor(data, asOf) {
    this.data = data;
    this.asOf = asOf;
    this.count();
  }

  count() {
    const {at, rows} = this.data.tokens;
    this.days = new Map(); // day → its tokens' rows
    this.kinds = {never: 0, unknown: 0, expired: 0, coming: 0};
    for (let row = 0; row < rows; row++) {
      const end = at.expires_at[row];
      if (end === NEVER) this.kinds.never++;
      else if (typeof end !== 'number') this.kinds.unknown++;
      else if (at.expired[row] === true) this.kinds.expired++;
      else this.add(Math.floor(end / DAY), row);
    }
    this.limit = Math.max(LEAST_CLIFF, Math.ceil(STEEP * this.kinds.coming / Math.max(1, this.days.size)));
  }

  add(date, row) {
    this.kinds.coming++;
    if (!this.days.has(date)) this.days.set(date, []);
    this.days.get(date).push(row);
  }

  isCliff(date) { return (this.days.get(date)?.length ?? 0) >= this.limit; }

  draw() {
    if (this.drawn) return;
    this.drawn = true;
    byId('calendar-lead').textContent = `Days on which tokens end. A cliff is a day on which at least ${plural(this.limit, 'token')} end: ${STEEP} times the average of the days on which any does, and no fewer than ${LEAST_CLIFF}.`;
    byId('calendar-facts').replaceChildren(...this.facts());
    byId('cliffs').replaceChildren(...this.cliffs());
    byId('months').replaceChildren(...this.months());
  }

  facts() {
    const {coming, never, expired, unknown} = this.kinds;
    const fact = (tokens, label, filters) => tokens > 0 && make('li', {}, make('a', {href: address('tokens', new URLSearchParams(filters))}, `${count(tokens)} ${label}`));
    return [
      fact(coming, 'still to come', {expiry: 'coming'}), fact(never, 'never expire', {endless: 'yes'}),
      fact(expired, 'expired', {expiry: 'expired'}), fact(unknown, 'unknown', {expiry: 'unknown'}),
    ].filter(Boolean);
  }

  cliffs() {
    const dates = [...this.days.keys()].filter(date => this.isCliff(date)).sort((a, b) => a - b);
    if (dates.length === 0) return [make('p', {}, 'No cliff is in sight.')];
    const head = ['Cliff', 'In', 'Tokens', 'Owners', 'Most of them belong to'].map((label, i) => make('th', {scope: 'col', class: i > 0 && i < 4 ? 'number' : ''}, label));
    return [make('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Cliffs'}, make('table', {class: 'plain'}, make('thead', {}, make('tr', {}, ...head)), make('tbody', {}, ...dates.map(date => this.cliff(date)))))];
  }

  cliff(date) {
    const {at} = this.data.tokens, rows = this.days.get(date), owners = new Map();
    for (const row of rows) {
      const name = shown(at.owner[row]);
      owners.set(name, (owners.get(name) ?? 0) + 1);
    }
    const [[name, tokens]] = [...owners].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    return make('tr', {}, make('th', {scope: 'row'}, make('a', {href: this.link(date, date)}, day(date * DAY))),
      make('td', {class: 'number'}, plural(date - Math.floor(this.asOf / DAY), 'day')), make('td', {class: 'number'}, count(rows.length)),
      make('td', {class: 'number'}, count(owners.size)), make('td', {}, tokens > 1 ? `${cut(name)} (${count(tokens)})` : ''));
  }

  link(first, last) {
    return address('tokens', new URLSearchParams({expires_from: day(first * DAY), expires_to: day(last * DAY), expiry: 'coming'}));
  }

  // months draws from this month to the last in which a token ends; months in which
  // none does are counted.
  months() {
    const now = new Date(this.asOf), last = Math.max(0, ...this.days.keys());
    const boxes = [];
    let empty = 0;
    for (let i = 0; i < MONTHS; i++) {
      const start = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + i) / DAY;
      const end = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + i + 1) / DAY - 1;
      if (start > last && i > 0) return boxes;
      if (i > 0 && this.sum(start, end) === 0) {
        empty++;
        continue;
      }
      if (empty > 0) boxes.push(make('p', {class: 'later'}, `${plural(empty, 'month')} without`));
      empty = 0;
      boxes.push(this.month(start, end));
    }
    return [...boxes, this.later(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + MONTHS) / DAY)];
  }

  later(start) {
    const tokens = this.sum(start, Infinity);
    const text = tokens ? make('a', {href: address('tokens', new URLSearchParams({expires_from: day(start * DAY)}))}, `${count(tokens)} later`) : '';
    return make('p', {class: 'later'}, text);
  }

  sum(first, last) {
    let tokens = 0;
    for (const [date, rows] of this.days) if (date >= first && date <= last) tokens += rows.length;
    return tokens;
  }

  month(start, end) {
    const date = new Date(start * DAY), tokens = this.sum(start, end);
    const name = `${MONTH[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
    const before = (date.getUTCDay() + 6) % 7; // weeks start on Monday
    const days = make('div', {class: 'days'});
    for (let i = 0; i < before; i++) days.append(make('i'));
    for (let at = start; at <= end; at++) days.append(this.square(at, at - start + 1));
    const label = tokens ? make('a', {href: this.link(start, end)}, name, make('b', {}, ` ${count(tokens)}`)) : make('span', {class: 'faint'}, name);
    return make('div', {class: 'month'}, make('h4', {}, label), days);
  }

  // square is a day; its links are for pointers only, since the month and the
  // list of cliffs are the same for the keyboard.
  square(date, number) {
    const tokens = this.days.get(date)?.length ?? 0;
    const past = date < Math.floor(this.asOf / DAY);
    if (tokens === 0) return make('i', {class: past ? 'past' : ''}, number);
    const cliff = this.isCliff(date), level = 1 + STEPS.filter(step => tokens >= step * this.limit).length;
    const title = `${day(date * DAY)}: ${plural(tokens, 'token')}${cliff ? ', a cliff' : ''}`;
    return make('a', {href: this.link(date, date), class: `level-${level}${cliff ? ' cliff' : ''}`, title, 'aria-label': title, tabindex: '-1'}, number);
  }
}
