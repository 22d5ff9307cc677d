// Filters. A field of a filter is {key, label, kind, test}: its state is a text,
// which also stands in the address, so that a view can be linked to and the
// browser's way back works. test(row, value) decides once value is prepared.

const KINDS = {
  text: {prepare: text => text.toLowerCase()},
  choice: {prepare: text => text},
  set: {prepare: text => new Set(text.split(','))},
  flag: {prepare: () => true},
  from: {prepare: text => Date.parse(text)},
  to: {prepare: text => Date.parse(text) + DAY},
  range: {prepare: readRange},
};

// readRange reads "7-30", "91-" or "-7" as whole days, both ends included.
function readRange(text) {
  const [, least, most] = /^(\d*)-(\d*)$/.exec(text) ?? [];
  return {least: least ? Number(least) : -Infinity, most: most ? Number(most) : Infinity};
}

const rangeText = text => {
  const {least, most} = readRange(text);
  if (most === Infinity) return `${least} days or more`;
  return least === most ? plural(least, 'day') : `${Math.max(0, least)} to ${most} days`;
};

// within tests an instant against one end of a range of days.
const from = values => (row, least) => typeof values[row] === 'number' && values[row] >= least;
const to = values => (row, end) => typeof values[row] === 'number' && values[row] < end;
const inRange = values => (row, {least, most}) => typeof values[row] === 'number' && values[row] >= least && values[row] <= most;
const equals = values => (row, wanted) => values[row] === wanted;
const oneOf = values => (row, wanted) => wanted.has(values[row]);

const contains = (...columns) => (row, wanted) =>
  columns.some(values => typeof values[row] === 'string' && values[row].toLowerCase().includes(wanted));

// search matches rows that hold every word, in any of the columns. The texts
// are made lower case once, at the first search.
function search(table, columns) {
  let texts = null;
  const textOf = row => columns.map(name => shown(table.at[name][row])).join('\n').toLowerCase();
  return (row, wanted) => {
    texts ??= Array.from({length: table.rows}, (_, i) => textOf(i));
    return wanted.split(/\s+/).every(word => texts[row].includes(word));
  };
}

// matching lists the rows that pass all fields that are set.
function matching(table, fields, state) {
  const tests = [];
  for (const {key, kind, test} of fields) {
    const value = state.get(key);
    if (value) tests.push([test, KINDS[kind].prepare(value)]);
  }
  const rows = [];
  for (let row = 0; row < table.rows; row++) {
    if (tests.every(([test, value]) => test(row, value))) rows.push(row);
  }
  return rows;
}

// sorted orders rows by a column: values first, then what never comes, then
// what is unknown, then what does not apply. Equal rows keep their order.
function sorted(rows, values, descending) {
  const way = descending ? -1 : 1;
  return rows.sort((a, b) => {
    const x = values[a], y = values[b];
    const last = rankOf(x) - rankOf(y);
    if (last !== 0) return rankOf(x) > 1 || rankOf(y) > 1 ? last : last * way;
    if (rankOf(x) > 0 || x === y) return 0;
    return (x < y ? -1 : 1) * way;
  });
}

function rankOf(value) {
  if (value === NEVER) return 1;
  if (value === UNKNOWN) return 2;
  return value === null || value === '' ? 3 : 0;
}
