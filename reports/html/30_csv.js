// CSV as patrol itself writes it (see csv_writer.go): every cell quoted, CRLF,
// and no cell that a spreadsheet would take for a formula.

const TRIGGERS = '=+-@\t\r\n＝＋－＠﹦﹢﹣﹫⁼⁺⁻₌₊₋−';
const IGNORABLE = /[\s\u0085\p{Cc}\p{Cf}\p{Mn}\p{Me}\p{Zs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0\u2800]/u;

// startsFormula looks at the first character that is seen.
function startsFormula(text) {
  for (const character of text) {
    if (TRIGGERS.includes(character)) return true;
    if (!IGNORABLE.test(character)) return false;
  }
  return false;
}

// defuse puts an apostrophe where a formula would start: at the beginning, and
// where a reader with another delimiter would start a cell.
function defuse(text) {
  const inside = (startsFormula(text) ? "'" + text : text).split(/(?<=[;|])/);
  return inside.map((part, i) => (i > 0 && startsFormula(part.replace(/^[" ]+/, '')) ? "'" + part : part)).join('');
}

function csvCell(value, kind) {
  if (value === null || value === UNKNOWN || value === NEVER) return '';
  if (typeof value === 'number') return kind === 'date' ? iso(value) : String(value);
  if (typeof value === 'boolean') return String(value);
  const text = Array.isArray(value) ? value.join(', ') : value;
  return defuse(text).replaceAll('"', '""');
}

const csvRow = cells => cells.map(cell => `"${cell}"`).join(',') + '\r\n';

// csvParts renders the rows of a table, in pieces for a Blob.
function csvParts(table, rows) {
  const parts = [csvRow(table.kinds.map(([name]) => name))];
  const columns = table.kinds.map(([name, kind]) => [table.at[name], kind]);
  for (const row of rows) parts.push(csvRow(columns.map(([values, kind]) => csvCell(values[row], kind))));
  return parts;
}

function download(name, parts) {
  const url = URL.createObjectURL(new Blob(parts, {type: 'text/csv;charset=utf-8'}));
  const link = make('a', {href: url, download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
