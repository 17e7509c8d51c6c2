// Elements that several views are made of: panels, states of waiting, tables, code to copy.

// A part of a view with its heading; `request` is what it shows, as a curl command.
function panel(title, { request, actions, id, wide } = {}, ...children) {
  const key = `panel:${id ?? title}`;
  return h(
    'section',
    { class: wide ? 'panel wide' : 'panel', key, 'aria-label': title },
    h(
      'header',
      { class: 'panel-header' },
      h('h2', null, title),
      h('span', { class: 'panel-actions' }, actions, request ? curlButton(key, title) : null),
    ),
    request && ui.curl === key ? curlBox(request) : null,
    children,
  );
}

// What a resource says: its value shown by `view`, or that it is on its way, or why it is not there.
function answered(entry, view, loading = 'Loading …') {
  if (entry.value !== undefined) {
    return [entry.error ? problem(`What is shown is older: ${entry.error.message}`) : null, view(entry.value)];
  }
  if (entry.error) {
    return refusalNote(entry.error, () => reload(entry.path));
  }
  return h('p', { class: 'waiting muted' }, loading);
}

function refusalNote(error, again) {
  const words =
    error.status === 403
      ? `Your role (${session.role}) does not show this. ${error.message}`
      : error.status === 404
        ? `This daemon has nothing here. ${error.message}`
        : error.message;
  return h(
    'div',
    { class: 'note problem', role: 'alert' },
    h('p', null, words),
    again ? h('button', { type: 'button', on: { click: again } }, 'Try again') : null,
  );
}

function problem(text) {
  return h('p', { class: 'note problem', role: 'alert' }, text);
}

function note(...children) {
  return h('p', { class: 'note' }, children);
}

function empty(title, ...children) {
  return h(
    'div',
    { class: 'empty' },
    h('p', { class: 'empty-title' }, title),
    children.length ? h('p', { class: 'muted' }, children) : null,
  );
}

// A table whose cells say their column's name where it becomes a list of cards on a phone. `columns`: `{title, cell, number}`.
function table(caption, columns, rows, { rowKey, rowClass, after } = {}) {
  return h(
    'div',
    { class: 'table-frame' },
    h(
      'table',
      null,
      h('caption', { class: 'unseen' }, caption),
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          columns.map((column) => h('th', { scope: 'col', class: column.number ? 'number' : null }, column.title)),
        ),
      ),
      h(
        'tbody',
        null,
        rows.map((row, index) => [
          tableRow(columns, row, rowKey?.(row, index) ?? index, rowClass?.(row)),
          after?.(row),
        ]),
      ),
    ),
  );
}

function tableRow(columns, row, key, rowClass) {
  return h(
    'tr',
    { key: `row:${key}`, class: rowClass },
    columns.map((column) => tableCell(column, column.cell(row))),
  );
}

// What says nothing is left out where cells stand below each other.
function tableCell(column, content) {
  const classes = [column.number && 'number', column.class, (content === UNKNOWN || content === '') && 'blank']
    .filter(Boolean)
    .join(' ');
  return h('td', { 'data-label': column.title, class: classes || null }, h('div', { class: 'cell' }, content));
}

// A list of names and what belongs to them.
function facts(pairs) {
  return h(
    'dl',
    { class: 'facts' },
    pairs
      .filter(Boolean)
      .map(([name, ...values]) => h('div', { key: name }, h('dt', null, name), h('dd', null, values))),
  );
}

function badge(text, kind = '') {
  return h('span', { class: `badge ${kind}` }, text);
}

// A connector's state: a shape, a colour and the word.
function stateChip(connector) {
  const known = connector.state in ICONS ? connector.state : 'stopped';
  return h(
    'span',
    { class: `chip state-${known}` },
    icon(...ICONS[known]),
    connector.state,
    connector.code ? h('span', { class: 'chip-code' }, connector.code) : null,
  );
}

// --- to copy

// Text that may be copied, with a button that does it.
function copyable(text, { label = 'Copy', language = '' } = {}) {
  return h(
    'div',
    { class: 'copyable' },
    h('pre', { class: `code ${language}`, tabindex: '0' }, text),
    copyButton(text, label),
  );
}

function copyButton(text, label = 'Copy') {
  return h(
    'button',
    {
      type: 'button',
      class: 'copy',
      'aria-label': label === 'Copy' ? 'Copy to the clipboard' : label,
      on: { click: (event) => copy(text, event.currentTarget) },
    },
    icon(...ICONS.copy),
    h('span', null, label),
  );
}

async function copy(text, button) {
  const copied = await writeClipboard(text);
  announce(copied ? 'Copied.' : 'The browser does not let the page copy.');
  button.classList.add(copied ? 'copied' : 'not-copied');
  setTimeout(() => button.classList.remove('copied', 'not-copied'), 1500);
}

async function writeClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without TLS on another host than this one there is no clipboard; the older way still copies a selection.
    return copySelection(text);
  }
}

function copySelection(text) {
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'unseen';
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  return copied;
}

// --- curl

function curlButton(key, what) {
  const open = ui.curl === key;
  return h(
    'button',
    {
      type: 'button',
      class: 'curl',
      'aria-expanded': String(open),
      'aria-label': `${what}: the curl command`,
      title: 'The same as a curl command',
      on: { click: () => setUi('curl', open ? null : key) },
    },
    'curl',
  );
}

function curlBox(request) {
  return h(
    'div',
    { class: 'curl-box', key: 'curl-box' },
    copyable(curl(request), { language: 'shell', label: 'Copy' }),
  );
}

// --- forms

// A labelled field. `control` is the vnode of an input, select or textarea, which gets the id.
function field(label, id, control, hint) {
  Object.assign(control.properties, { id, 'aria-describedby': hint ? `${id}-hint` : null });
  return h(
    'div',
    { class: 'field' },
    h('label', { for: id }, label),
    control,
    hint ? h('p', { class: 'hint', id: `${id}-hint` }, hint) : null,
  );
}

// A choice of one of few, as buttons that are pressed or not.
function choice(label, options, chosen, choose) {
  return h(
    'div',
    { class: 'choice', role: 'group', 'aria-label': label },
    options.map(([value, text]) =>
      h(
        'button',
        { type: 'button', key: value, 'aria-pressed': String(value === chosen), on: { click: () => choose(value) } },
        text,
      ),
    ),
  );
}

// --- JSON

// JSON with its parts marked by kind. It is text all the way down.
function json(value) {
  return h('pre', { class: 'code json', tabindex: '0' }, jsonParts(pretty(value) ?? ''));
}

const JSON_PARTS = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d[\d.eE+-]*)/g;
// Beyond this, marks would cost more than they tell.
const JSON_MARKED_LENGTH = 20000;

function jsonParts(text) {
  if (text.length > JSON_MARKED_LENGTH) {
    return text;
  }
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(JSON_PARTS)) {
    const kind =
      match[2] !== undefined ? 'name' : match[1] !== undefined ? 'string' : match[3] !== undefined ? 'word' : 'number';
    parts.push(
      text.slice(end, match.index),
      h('span', { class: `json-${kind}` }, match[1] ?? match[0]),
      match[2] ?? '',
    );
    end = match.index + match[0].length;
  }
  parts.push(text.slice(end));
  return parts;
}
