// Scatter draws every token by its age and the days since its last use. Tokens
// that fall on the same few pixels are one cell, the stronger the more they are,
// so that a hundred thousand read as well as a hundred.

const AGES = [[0, 30], [31, 90], [91, 180], [181, 365], [366, Infinity]];
const IDLES = [[0, 7], [8, 30], [31, 90], [91, 180], [181, Infinity]];

const rangeOf = ([least, most]) => `${least}-${most === Infinity ? '' : most}`;
const rangeLabel = ([least, most]) => (most === Infinity ? `over ${least - 1} days` : `${least} to ${most} days`);

class Scatter {
  constructor(data) {
    this.at = data.tokens.at;
    this.rows = data.tokens.rows;
    this.canvas = byId('scatter');
    this.canvas.addEventListener('pointermove', event => this.tell(this.cellAt(event)));
    this.canvas.addEventListener('pointerleave', () => this.tell(null));
    this.canvas.addEventListener('click', event => this.open(this.cellAt(event)));
    byId('scatter-expired').addEventListener('change', () => this.draw());
  }

  // placed lists the tokens that have a place, and counts those that have none.
  placed() {
    const all = byId('scatter-expired').checked;
    const {age_days: ages, idle_days: idles, expired} = this.at;
    const rows = [];
    let without = 0;
    for (let row = 0; row < this.rows; row++) {
      if (!all && expired[row] === true) continue;
      if (typeof ages[row] === 'number' && typeof idles[row] === 'number' && ages[row] >= 0) rows.push(row);
      else without++;
    }
    return {rows, without};
  }

  draw() {
    const box = this.canvas.getBoundingClientRect();
    if (box.width === 0) return; // not shown
    const {rows, without} = this.placed();
    this.scale(rows, box);
    this.bin(rows);
    this.paint(box);
    this.tabulate(rows);
    byId('scatter-unplaced').textContent = without ? `${plural(without, 'token')} without a place: age or last use is unknown` : '';
  }

  scale(rows, box) {
    const {age_days: ages, idle_days: idles} = this.at;
    let oldest = 35, idlest = 35;
    for (const row of rows) {
      oldest = Math.max(oldest, ages[row]);
      idlest = Math.max(idlest, idles[row]);
    }
    this.area = {left: 52, top: 10, width: box.width - 68, height: box.height - 54};
    this.dense = rows.length > 2000;
    const size = this.dense ? 4 : 7;
    this.x = new DayAxis(oldest, this.area.width, size);
    this.y = new DayAxis(idlest, this.area.height, size);
  }

  // bin counts tokens by cell: a cell is a range of ages and of idle days.
  bin(rows) {
    const {age_days: ages, idle_days: idles, used} = this.at;
    this.cells = new Map();
    for (const row of rows) {
      const i = this.x.cell(ages[row]), j = this.y.cell(idles[row]);
      const key = i * 1e5 + j;
      let cell = this.cells.get(key);
      if (!cell) this.cells.set(key, cell = {i, j, tokens: 0, unused: 0});
      cell.tokens++;
      if (used[row] === false) cell.unused++;
    }
  }

  paint(box) {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    const pen = this.canvas.getContext('2d');
    pen.scale(ratio, ratio);
    const color = name => getComputedStyle(byId(name)).color;
    const colors = {ink: color('ink-muted'), line: color('ink-line'), used: color('ink-used'), unused: color('ink-unused')};
    this.axes(pen, colors);
    this.points(pen, colors);
  }

  axes(pen, {ink, line}) {
    const {left, top, width, height} = this.area;
    pen.font = '12px ' + getComputedStyle(document.body).fontFamily;
    pen.fillStyle = ink;
    pen.strokeStyle = line;
    pen.textBaseline = 'middle';
    pen.textAlign = 'right';
    for (const days of this.y.ticks(24)) {
      const y = top + height - this.y.at(days);
      rule(pen, left, y, left + width, y);
      pen.fillText(count(days), left - 8, y);
    }
    pen.textAlign = 'center';
    for (const days of this.x.ticks(34)) {
      const x = left + this.x.at(days);
      rule(pen, x, top, x, top + height);
      pen.fillText(count(days), x, top + height + 14);
    }
    pen.fillText('days since the token was made', left + width / 2, top + height + 36);
    pen.save();
    pen.translate(10, top + height / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText('days since last use', 0, 0);
    pen.restore();
  }

  points(pen, {used, unused}) {
    let most = 1;
    for (const {tokens} of this.cells.values()) most = Math.max(most, tokens);
    const {left, top, height} = this.area;
    for (const {i, j, tokens, unused: never} of this.cells.values()) {
      pen.globalAlpha = most === 1 ? 0.8 : 0.4 + 0.6 * (Math.log1p(tokens - 1) / Math.log1p(most - 1));
      pen.fillStyle = never * 2 > tokens ? unused : used;
      const [x, wide] = this.x.span(i, this.dense), [y, high] = this.y.span(j, this.dense);
      pen.fillRect(left + x, top + height - y - high, wide, high);
    }
    pen.globalAlpha = 1;
  }

  // cellAt finds the cell under the pointer, or the nearest one.
  cellAt({offsetX, offsetY}) {
    if (!this.cells) return null;
    const i = Math.floor((offsetX - this.area.left) / this.x.size);
    const j = Math.floor((this.area.top + this.area.height - offsetY) / this.y.size);
    let best = null, distance = 3;
    for (let di = -2; di <= 2; di++) {
      for (let dj = -2; dj <= 2; dj++) {
        const cell = this.cells.get((i + di) * 1e5 + j + dj);
        if (cell && Math.hypot(di, dj) < distance) [best, distance] = [cell, Math.hypot(di, dj)];
      }
    }
    return best;
  }

  ranges({i, j}) { return {age: rangeOf(this.x.days(i)), idle: rangeOf(this.y.days(j))}; }

  tell(cell) {
    this.canvas.classList.toggle('pointing', cell !== null);
    if (!cell) return void (byId('scatter-said').textContent = '\u00a0');
    const {age, idle} = this.ranges(cell);
    byId('scatter-said').textContent = `${plural(cell.tokens, 'token')}: made ${rangeText(age)} ago, idle ${rangeText(idle)}`;
  }

  open(cell) {
    if (cell) location.hash = this.link(this.ranges(cell));
  }

  link(filters) {
    if (!byId('scatter-expired').checked) filters.expiry = 'live';
    return address('tokens', new URLSearchParams(filters));
  }

  // tabulate gives the same in numbers, for those who do not see the picture.
  tabulate(rows) {
    const {age_days: ages, idle_days: idles, used} = this.at;
    const counts = [...IDLES, null].map(() => AGES.map(() => 0));
    for (const row of rows) {
      const line = used[row] === false ? IDLES.length : IDLES.findIndex(([, most]) => idles[row] <= most);
      counts[line][AGES.findIndex(([, most]) => ages[row] <= most)]++;
    }
    const head = make('tr', {}, make('th', {scope: 'col'}, 'Last used'), ...AGES.map(range => make('th', {scope: 'col'}, `Age ${rangeLabel(range)}`)));
    const line = (label, filters, i) => make('tr', {}, make('th', {scope: 'row'}, label), ...AGES.map((range, j) => this.number(counts[i][j], {age: rangeOf(range), ...filters})));
    const body = IDLES.map((range, i) => line(`${rangeLabel(range)} ago`, {idle: rangeOf(range), use: 'used'}, i));
    body.push(line('never', {use: 'never'}, IDLES.length));
    const caption = make('caption', {}, 'Tokens by age and last use');
    byId('scatter-table').replaceChildren(caption, make('thead', {}, head), make('tbody', {}, ...body));
  }

  number(tokens, filters) {
    return make('td', {class: tokens ? '' : 'zero'}, tokens ? make('a', {href: this.link(filters)}, count(tokens)) : '0');
  }
}

function rule(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  pen.lineTo(Math.round(x2) + 0.5, Math.round(y2) + 0.5);
  pen.stroke();
}

// DayAxis places days so that the first weeks have as much room as later years.
// A cell is some pixels wide and holds the days that fall on them.
class DayAxis {
  constructor(most, length, size) {
    Object.assign(this, {most, length, size});
    this.full = this.warp(most * 1.04 + 1);
  }

  warp(days) { return Math.log1p(Math.max(0, days) / 14); }

  at(days) { return (this.warp(days) / this.full) * this.length; }

  cell(days) { return Math.floor(this.at(days) / this.size); }

  // days is the first and last day of a cell.
  days(cell) {
    const edge = cells => 14 * Math.expm1((cells * this.size / this.length) * this.full);
    let first = Math.max(0, Math.floor(edge(cell)) - 1), last = Math.ceil(edge(cell + 1)) + 1;
    while (this.cell(first) < cell) first++;
    while (this.cell(last) > cell) last--;
    return [first, last];
  }

  // span is where a cell starts and how long it is: the cell's pixels, or all of
  // its days, so that many cells leave no gaps between each other.
  span(cell, whole) {
    if (!whole) return [cell * this.size, this.size - 0.5];
    const [first, last] = this.days(cell);
    return [this.at(first), Math.max(2, this.at(last + 1) - this.at(first) - 0.5)];
  }

  // ticks are days that people count in, no nearer to each other than some pixels.
  ticks(apart) {
    const days = [0, 7, 30, 90, 180, 365, 730, 1095, 1825, 3650, 7300, 18250].filter(day => day <= this.most);
    return days.filter((day, i) => i === 0 || this.at(day) - this.at(days[i - 1]) >= apart);
  }
}
