// Grid shows any number of rows and holds only those in sight: a table whose
// first and last row are as tall as what is left out. The keyboard's place is an
// active row, told to screen readers by aria-activedescendant, since the
// element of a row comes and goes.

const OVERSCAN = 8; // rows kept above and below those in sight
const TALLEST = 8e6; // browsers lay nothing out that is much taller (pixels)

class Grid {
  constructor({name, label, columns, onOpen, onSort}) {
    Object.assign(this, {name, columns, onOpen, onSort, rows: [], active: -1, drawn: ''});
    this.head = make('thead', {role: 'rowgroup'}, this.header());
    this.body = make('tbody', {role: 'rowgroup'});
    this.table = make('table', {role: 'grid', tabindex: '0', 'aria-label': label, 'aria-readonly': 'true', 'aria-colcount': columns.length, class: `grid ${name}`},
      make('colgroup', {}, ...columns.map(column => make('col', {class: `c-${column.key}`}))), this.head, this.body);
    this.scroller = make('div', {class: 'scroller'}, this.table);
    this.listen();
  }

  header() {
    const cells = this.columns.map(column => {
      const button = make('button', {type: 'button'}, column.label, make('span', {class: 'arrow', 'aria-hidden': 'true'}));
      button.addEventListener('click', () => this.onSort(column.key));
      return make('th', {role: 'columnheader', scope: 'col', class: `c-${column.key}`}, button);
    });
    return make('tr', {role: 'row', 'aria-rowindex': '1'}, ...cells);
  }

  listen() {
    let waiting = false;
    this.scroller.addEventListener('scroll', () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; this.draw(); });
    }, {passive: true});
    new ResizeObserver(() => this.draw(true)).observe(this.scroller);
    this.table.addEventListener('keydown', event => this.key(event));
    this.table.addEventListener('focus', () => this.activate(Math.max(this.active, 0)));
    this.body.addEventListener('click', event => this.click(event));
  }

  // show replaces the rows; sort is {key, descending} or null.
  show(rows, sort) {
    this.rows = rows;
    this.active = -1;
    this.table.setAttribute('aria-rowcount', rows.length + 1);
    this.columns.forEach((column, i) => {
      const order = sort && sort.key === column.key ? (sort.descending ? 'descending' : 'ascending') : 'none';
      this.head.rows[0].cells[i].setAttribute('aria-sort', order);
    });
    this.scroller.scrollTop = 0;
    this.draw(true);
  }

  // window tells which rows are in sight, and the space above and below them.
  window() {
    const row = parseFloat(getComputedStyle(this.table).getPropertyValue('--row'));
    const all = this.rows.length, top = this.scroller.scrollTop;
    const fit = Math.ceil(this.scroller.clientHeight / row);
    const height = Math.min(all * row, TALLEST);
    const exact = all * row <= TALLEST;
    const end = Math.max(1, height - this.scroller.clientHeight);
    const at = exact ? Math.floor(top / row) : Math.floor(Math.min(1, top / end) * Math.max(0, all - fit + 1));
    const first = Math.max(0, Math.min(at, all - fit) - OVERSCAN);
    const last = Math.min(all, at + fit + OVERSCAN);
    const above = exact ? first * row : Math.max(0, Math.min(top - (at - first) * row, height - (last - first) * row));
    return {row, fit, first, last, above, below: Math.max(0, height - above - (last - first) * row)};
  }

  draw(force = false) {
    if (this.scroller.clientHeight === 0) return;
    const {first, last, above, below} = this.window();
    const drawn = `${first} ${last} ${above}`;
    if (!force && drawn === this.drawn) return;
    this.drawn = drawn;
    const rows = [];
    for (let i = first; i < last; i++) rows.push(this.line(i));
    if (this.rows.length === 0) rows.push(this.nothing());
    this.body.replaceChildren(this.space(above), ...rows, this.space(below));
    this.point();
  }

  line(index) {
    const cells = this.columns.map(column => {
      const content = column.cell(this.rows[index]);
      return make('td', {role: 'gridcell', class: `c-${column.key}`}, content);
    });
    return make('tr', {role: 'row', id: `${this.name}-row-${index}`, 'aria-rowindex': index + 2, 'data-index': index}, ...cells);
  }

  space(height) {
    const space = make('tr', {class: 'space', 'aria-hidden': 'true'});
    space.style.height = `${height}px`;
    return space;
  }

  nothing() {
    return make('tr', {role: 'row', class: 'nothing'}, make('td', {role: 'gridcell', colspan: this.columns.length}, 'Nothing matches the filters.'));
  }

  // point marks the active row where it is drawn.
  point() {
    const row = byId(`${this.name}-row-${this.active}`);
    for (const other of this.body.querySelectorAll('[aria-selected]')) other.removeAttribute('aria-selected');
    if (!row) return this.table.removeAttribute('aria-activedescendant');
    row.setAttribute('aria-selected', 'true');
    this.table.setAttribute('aria-activedescendant', row.id);
  }

  activate(index) {
    if (this.rows.length === 0) return;
    this.active = Math.max(0, Math.min(index, this.rows.length - 1));
    this.reveal(this.active);
    this.draw();
    this.point();
  }

  // reveal scrolls just far enough to bring a row below the header and above the end.
  reveal(index) {
    const {row, fit} = this.window();
    const {scroller} = this, all = this.rows.length;
    if (all * row > TALLEST) {
      const [first, last] = this.inSight();
      if (index < first || index > last) scroller.scrollTop = (index / Math.max(1, all - fit + 1)) * (TALLEST - scroller.clientHeight);
      return;
    }
    const room = scroller.clientHeight - this.head.offsetHeight;
    if (index * row < scroller.scrollTop) scroller.scrollTop = index * row;
    else if ((index + 1) * row > scroller.scrollTop + room) scroller.scrollTop = (index + 1) * row - room;
  }

  // inSight tells the first and last row between the header and the end.
  inSight() {
    const box = this.scroller.getBoundingClientRect(), top = box.top + this.head.offsetHeight;
    const seen = [...this.body.querySelectorAll('[data-index]')].filter(row => {
      const {top: start, bottom: end} = row.getBoundingClientRect();
      return start >= top - 1 && end <= box.bottom + 1;
    });
    return seen.length ? [Number(seen[0].dataset.index), Number(seen.at(-1).dataset.index)] : [-1, -1];
  }

  key(event) {
    if (event.target !== this.table || event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, this.window().fit - 2);
    const moves = {ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity};
    if (event.key in moves) this.activate(this.active + moves[event.key]);
    else if ((event.key === 'Enter' || event.key === ' ') && this.active >= 0) this.onOpen(this.rows[this.active]);
    else return;
    event.preventDefault();
  }

  click(event) {
    const row = event.target.closest('[data-index]');
    if (!row || String(getSelection())) return; // who marks text wants to copy it
    this.active = Number(row.dataset.index);
    this.point();
    this.onOpen(this.rows[this.active]);
  }
}
