// The page: which view the address names, the theme, printing.

const root = document.documentElement;
root.classList.add('js');

const page = {views: {}, data: null};

// place reads the address: #findings?severity=high or #policy/PAT-001.
function place() {
  const [id, query = ''] = location.hash.slice(1).split(/\?(.*)/s);
  let name = id;
  try { name = decodeURIComponent(id); } catch { /* a stray % is part of the name */ }
  return {name, state: new URLSearchParams(query)};
}

// route shows one view and hides the others; an unknown address shows the summary.
function route(event) {
  const {name, state} = place();
  if (name === 'main') return; // the link that skips the banner
  const view = [...document.querySelectorAll('.view')].find(({id}) => id === name) ?? byId('summary');
  const changed = view.hidden;
  for (const other of document.querySelectorAll('.view')) other.hidden = other !== view;
  for (const link of document.querySelectorAll('.banner nav a')) {
    const current = link.hash === `#${view.dataset.nav ?? view.id}`;
    if (current) {
      link.setAttribute('aria-current', 'page');
      link.scrollIntoView({block: 'nearest', inline: 'center'}); // the bar of a phone is longer than its screen
    } else link.removeAttribute('aria-current');
  }
  root.classList.toggle('table-shown', view.classList.contains('table-view'));
  page.views[view.id]?.show(state);
  if (!event) return;
  if (changed) byId('main').focus({preventScroll: true});
  scrollTo(0, 0);
}

function load() {
  const tokens = readTable('tokens'), findings = readTable('findings');
  join(tokens, findings);
  const data = {tokens, findings, workspaces: workspaceChoices(tokens, findings)};
  const details = new Details(data);
  page.data = data;
  page.views.findings = findingsView(data, row => details.finding(row));
  page.views.tokens = tokensView(data, row => details.token(row));
  page.views.timeline = timeline(data);
  route();
  byId('main').setAttribute('aria-busy', 'false');
}

function timeline(data) {
  const scatter = new Scatter(data);
  const calendar = new Calendar(data, Date.parse(byId('as-of').dateTime));
  const redraw = debounce(60, () => scatter.draw());
  new ResizeObserver(redraw).observe(byId('scatter'));
  addEventListener('themed', redraw);
  return {show() { scatter.draw(); calendar.draw(); }};
}

// The theme is that of the system until somebody chooses; it is not remembered.
function themes() {
  const button = byId('theme'), dark = matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : dark.matches);
  const label = () => {
    button.replaceChildren(isDark() ? 'Light' : 'Dark', make('span', {}, '\u00a0theme'));
    dispatchEvent(new Event('themed'));
  };
  button.addEventListener('click', () => { root.dataset.theme = isDark() ? 'light' : 'dark'; label(); });
  dark.addEventListener('change', label);
  button.hidden = false;
  label();
}

function printing() {
  const shownTable = () => Object.values(page.views).find(view => view instanceof TableView && !byId(view.table.name).hidden);
  addEventListener('beforeprint', () => {
    shownTable()?.printable();
    for (const folded of document.querySelectorAll('.workspace')) folded.open = true;
  });
  addEventListener('afterprint', () => shownTable()?.unprint());
}

addEventListener('hashchange', route);
themes();
printing();
route();
if (document.readyState === 'loading') addEventListener('DOMContentLoaded', load); else load();
