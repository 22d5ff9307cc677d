// TableView is a grid with its filters, its count, and its export. Its state is
// a URLSearchParams: filters, and how the rows are sorted.

const PRINTED = 2000; // rows: paper ends somewhere, and says so

class TableView {
  constructor({table, noun, fields, columns, open}) {
    Object.assign(this, {table, noun, fields, columns, state: new URLSearchParams(), inputs: new Map()});
    this.grid = new Grid({name: table.name, label: heading(table.name), columns, onOpen: open, onSort: key => this.sort(key)});
    this.said = make('p', {class: 'said', role: 'status', 'aria-live': 'polite'});
    this.chips = make('div', {class: 'chips'});
    this.print = make('div', {class: 'printed'});
    byId(`${table.name}-table`).append(this.filters(), this.bar(), this.grid.scroller, this.print);
  }

  bar() {
    const reset = make('button', {type: 'button', class: 'quiet'}, 'Clear filters');
    reset.addEventListener('click', () => this.go(new URLSearchParams()));
    this.reset = reset;
    this.export = make('button', {type: 'button', class: 'quiet'}, 'Export as CSV');
    this.export.addEventListener('click', () => download(`patrol-${this.table.name}.csv`, csvParts(this.table, this.rows)));
    return make('div', {class: 'bar'}, this.said, this.chips, make('div', {class: 'buttons'}, reset, this.export));
  }

  filters() {
    const form = make('form', {class: 'filters', role: 'search', 'aria-label': `Filter ${this.table.name}`});
    form.addEventListener('submit', event => event.preventDefault());
    const later = debounce(150, () => this.read());
    form.addEventListener('input', event => (event.target.matches('[type=search]') ? later() : this.read()));
    const groups = new Map();
    for (const field of this.fields) {
      if (field.kind === 'range') continue;
      const control = this.control(field);
      if (!field.group) { form.append(control); continue; }
      if (!groups.has(field.group)) {
        groups.set(field.group, this.group(field.group));
        form.append(groups.get(field.group));
      }
      groups.get(field.group).lastChild.append(control);
    }
    this.panel = make('details', {class: 'panel'}, make('summary', {}, 'Filters'), form);
    this.panel.open = matchMedia('(min-width: 46rem)').matches;
    return this.panel;
  }

  // control builds the input of a field and notes it for read and write.
  control(field) {
    if (field.kind === 'set') return this.set(field);
    const id = `${this.table.name}-${field.key}`;
    const input = field.kind === 'choice' ? this.choice(id, field) : make('input', {id, type: {text: 'search', flag: 'checkbox'}[field.kind] ?? 'date', placeholder: field.hint, spellcheck: 'false', autocomplete: 'off'});
    this.inputs.set(field.key, input);
    const label = make('label', {for: id}, field.label);
    return make('div', {class: `field ${field.kind}`}, ...(field.kind === 'flag' ? [input, label] : [label, input]));
  }

  // group is several controls under one label.
  group(label, ...controls) {
    const id = `${this.table.name}-group-${label.replaceAll(' ', '-')}`;
    return make('div', {class: 'field', role: 'group', 'aria-labelledby': id}, make('span', {id}, label), make('div', {class: 'group'}, ...controls));
  }

  choice(id, field) {
    return make('select', {id}, make('option', {value: ''}, field.any ?? 'all'), ...field.choices.map(([value, label]) => make('option', {value}, label)));
  }

  set(field) {
    const boxes = field.choices.map(([value, label]) => make('label', {class: 'check'}, make('input', {type: 'checkbox', value}), label));
    const set = this.group(field.label, ...boxes);
    this.inputs.set(field.key, set);
    return set;
  }

  // read takes the state from the inputs.
  read() {
    const state = new URLSearchParams();
    for (const {key, kind} of this.fields) {
      const value = kind === 'range' ? this.state.get(key) : valueOf(this.inputs.get(key));
      if (value) state.set(key, value);
    }
    for (const key of ['sort', 'order']) if (this.state.has(key)) state.set(key, this.state.get(key));
    this.go(state);
  }

  // write puts the state into the inputs.
  write() {
    for (const {key, kind} of this.fields) {
      if (kind !== 'range') setValue(this.inputs.get(key), this.state.get(key) ?? '');
    }
    const ranges = this.fields.filter(({key, kind}) => kind === 'range' && this.state.get(key));
    this.chips.replaceChildren(...ranges.map(field => this.chip(field)));
    this.reset.disabled = !this.fields.some(({key}) => this.state.get(key));
  }

  chip({key, label}) {
    const text = `${label} ${rangeText(this.state.get(key))}`;
    const button = make('button', {type: 'button', class: 'chip', 'aria-label': `Remove filter: ${text}`}, text, make('span', {'aria-hidden': 'true'}, ' ×'));
    button.addEventListener('click', () => {
      const state = new URLSearchParams(this.state);
      state.delete(key);
      this.go(state);
    });
    return button;
  }

  sort(key) {
    const state = new URLSearchParams(this.state);
    const before = state.get('sort') === key ? state.get('order') ?? 'up' : '';
    state.delete('order');
    state.set('sort', key);
    if (before === 'up') state.set('order', 'down');
    if (before === 'down') { state.delete('sort'); state.delete('order'); }
    this.go(state);
  }

  // go shows a state and puts it into the address.
  go(state) {
    history.replaceState(null, '', address(this.table.name, state));
    this.show(state);
  }

  show(state) {
    this.state = state;
    this.write();
    const column = this.columns.find(({key}) => key === state.get('sort'));
    const descending = state.get('order') === 'down';
    this.rows = matching(this.table, this.fields, state);
    if (column) sorted(this.rows, column.values, descending);
    this.grid.show(this.rows, column && {key: column.key, descending});
    this.said.textContent = this.rows.length === this.table.rows ? plural(this.table.rows, this.noun) : `${count(this.rows.length)} of ${plural(this.table.rows, this.noun)}`;
    this.export.disabled = this.rows.length === 0;
  }

  // printable lays the rows out whole: what scrolls cannot be printed.
  printable() {
    const head = make('tr', {}, ...this.columns.map(({label}) => make('th', {scope: 'col'}, label)));
    const rows = this.rows.slice(0, PRINTED).map(row => make('tr', {}, ...this.columns.map(({key, cell}) => make('td', {class: `c-${key}`}, cell(row)))));
    const rest = this.rows.length - rows.length;
    this.print.replaceChildren(make('table', {class: 'plain'}, make('thead', {}, head), make('tbody', {}, ...rows)),
      rest > 0 ? make('p', {}, `… and ${count(rest)} more: export them as CSV.`) : '');
  }

  unprint() { this.print.replaceChildren(); }
}

function valueOf(input) {
  if (input.getAttribute('role') === 'group') return [...input.querySelectorAll('input:checked')].map(box => box.value).join(',');
  if (input.type === 'checkbox') return input.checked ? 'yes' : '';
  return input.value.trim();
}

function setValue(input, value) {
  if (input.getAttribute('role') === 'group') {
    const chosen = new Set(value.split(','));
    for (const box of input.querySelectorAll('input')) box.checked = chosen.has(box.value);
  } else if (input.type === 'checkbox') {
    input.checked = value !== '';
  } else if (input.value.trim() !== value) { // never move the cursor of who types
    input.value = value;
  }
}

// address is the hash of a view in a state.
function address(view, state) {
  const text = String(state);
  return text ? `#${view}?${text}` : `#${view}`;
}
