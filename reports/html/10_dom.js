// Elements and texts. Every text enters the page here, as text: the policy of
// the page refuses markup made from strings.

const UNKNOWN = Object.freeze({is: 'unknown'}); // applies, but could not be read
const NEVER = Object.freeze({is: 'never'}); // an instant that does not come, or never came
const DAY = 86400000;
const SVG = 'http://www.w3.org/2000/svg';

const byId = id => document.getElementById(id);

// make builds an element: make('a', {href: '#x', class: 'id'}, 'text', child).
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, '');
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter(child => child !== undefined && child !== null && child !== ''));
  return element;
}

const count = n => n.toLocaleString('en-US');
const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;
const words = name => name.replaceAll('_', ' ');
const heading = name => words(name).charAt(0).toUpperCase() + words(name).slice(1);

// iso is an instant as RFC 3339 with milliseconds only where there are any.
function iso(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return `${ms} ms`;
  return date.toISOString().replace(/\.?0*Z$/, 'Z');
}

const day = ms => {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString().slice(0, 10);
};

// shown is a cell's value for readers.
function shown(value, kind) {
  if (value === null || value === undefined) return '';
  if (value === UNKNOWN || value === NEVER) return value.is;
  if (Array.isArray(value)) return value.join(', ');
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (kind === 'date') return day(value);
  return kind === 'number' ? count(value) : String(value);
}

// cut keeps cells of a table short: 64 KiB of comment are for the details.
const cut = text => (text.length > 240 ? text.slice(0, 240) + '…' : text);

const shortId = id => (id.length > 12 ? id.slice(0, 8) + '…' : id);

function debounce(wait, run) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, wait);
  };
}

const mark = word => make('span', {class: `mark ${word}`}, words(word));
