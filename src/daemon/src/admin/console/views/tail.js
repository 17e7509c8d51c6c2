// The live tail: each change as the row before, the row after, the event that was made of it, and the bytes that went out.

const TAIL_ROWS = 200;
// The daemon ends a tail after some minutes; somebody who still looks begins another one.
const TAIL_AGAIN_MS = 1000;
const BYTES_SHOWN = 1024;
const BYTES_A_LINE = 8;

// The one tail of the page: `connector`, `controller` while it runs, `rows` newest first.
const tail = {
  connector: null,
  controller: null,
  rows: [],
  held: [],
  error: null,
  filter: '',
  frozen: false,
  open: new Set(),
  skipped: 0,
  number: 0,
};

function tailTab(connector) {
  const name = connector.connector;
  if (tail.connector !== name) {
    stopTail();
    Object.assign(tail, {
      connector: name,
      rows: [],
      held: [],
      error: null,
      open: new Set(),
      skipped: 0,
      frozen: false,
    });
  }
  const path = tailPath(name);
  return panel(
    'Live tail',
    { wide: true, request: { path, stream: true }, id: 'tail' },
    h('div', { class: 'tail-controls' }, tailButtons(name), tailFilter()),
    tail.error ? refusalNote(tail.error, () => startTail(name)) : null,
    tailState(),
    tailTable(),
    h(
      'p',
      { class: 'hint' },
      'Rows are shown here and kept nowhere. What cannot be shown in time is counted and left out; the stream has it all.',
    ),
  );
}

function tailPath(name) {
  return `/connectors/${part(name)}/tail`;
}

function tailButtons(name) {
  return h(
    'span',
    { class: 'button-row' },
    tail.controller
      ? h(
          'button',
          {
            type: 'button',
            on: {
              click: () => {
                stopTail();
                invalidate();
              },
            },
          },
          'Stop watching',
        )
      : h('button', { type: 'button', class: 'primary', on: { click: () => startTail(name) } }, 'Watch'),
    h(
      'button',
      { type: 'button', 'aria-pressed': String(tail.frozen), on: { click: freezeTail } },
      tail.frozen ? `Show ${plural(tail.held.length, 'new one')}` : 'Hold still',
    ),
    h(
      'button',
      {
        type: 'button',
        on: {
          click: () => {
            tail.rows = [];
            tail.open.clear();
            invalidate();
          },
        },
      },
      'Clear',
    ),
  );
}

function tailFilter() {
  return h(
    'label',
    { class: 'inline-field' },
    h('span', { class: 'unseen' }, 'Only tables, topics or keys with this text'),
    h('input', {
      type: 'search',
      placeholder: 'Table, topic or key',
      set: { value: tail.filter },
      on: {
        input: (event) => {
          tail.filter = event.target.value;
          invalidate();
        },
      },
    }),
  );
}

function freezeTail() {
  tail.frozen = !tail.frozen;
  if (!tail.frozen) {
    tail.rows = [...tail.held, ...tail.rows].slice(0, TAIL_ROWS);
    tail.held = [];
  }
  invalidate();
}

async function startTail(name) {
  stopTail();
  const controller = new AbortController();
  Object.assign(tail, { controller, error: null });
  invalidate();
  const { signal } = controller;
  try {
    while (!signal.aborted) {
      for await (const event of follow(tailPath(name), signal)) {
        takeTailEvent(event);
      }
      await new Promise((resolve) => setTimeout(resolve, TAIL_AGAIN_MS));
    }
  } catch (error) {
    const broken = error instanceof Refusal ? error : new Refusal(0, null, 'The connection to the daemon broke.');
    tail.error = signal.aborted ? null : broken;
  }
  if (tail.controller === controller) {
    tail.controller = null;
  }
  invalidate();
}

function stopTail() {
  tail.controller?.abort();
  tail.controller = null;
}

function takeTailEvent({ name, data }) {
  tail.number += 1;
  const row = { ...JSON.parse(data), id: tail.number, gap: name === 'gap' };
  tail.skipped += row.skipped ?? row.missed ?? 0;
  if (tail.frozen) {
    tail.held = [row, ...tail.held].slice(0, TAIL_ROWS);
  } else {
    tail.rows = [row, ...tail.rows].slice(0, TAIL_ROWS);
  }
  invalidate();
}

function tailState() {
  const words = tail.controller ? 'Running' : 'Not running';
  const skipped = tail.skipped ? `, ${plural(tail.skipped, 'event')} passed by unseen` : '';
  return h(
    'p',
    { class: 'muted tail-state', key: 'tail-state' },
    h('span', { class: tail.controller ? 'live-dot' : 'live-dot off' }),
    `${words}: ${plural(tail.rows.length, 'event')} shown${skipped}.`,
  );
}

function tailTable() {
  const words = tail.filter.toLowerCase();
  const matches = (row) =>
    row.gap ||
    [row.table, keyText(row), ...row.records.map((record) => record.topic)].some((text) =>
      (text ?? '').toLowerCase().includes(words),
    );
  const shown = tail.rows.filter(matches);
  if (shown.length === 0) {
    return empty(
      tail.rows.length
        ? 'No event has this text.'
        : tail.controller
          ? 'Waiting for the next change.'
          : 'Nothing is shown yet.',
      tail.controller || tail.rows.length ? '' : 'Watch, then change a row of a captured table.',
    );
  }
  return table(
    'Events, newest first',
    [
      { title: 'Op', cell: (row) => (row.gap ? badge('gap', 'warning') : opBadge(row.op)) },
      {
        title: 'Table',
        class: 'breaks',
        cell: (row) => (row.gap ? `${plural(row.missed ?? 0, 'event')} came too fast to be shown.` : row.table),
      },
      {
        title: 'Key',
        class: 'breaks',
        cell: (row) => (row.gap ? '' : h('code', null, keyText(row))),
      },
      { title: 'Committed', cell: (row) => (row.gap ? '' : when(row.committed_at_us)) },
      { title: 'Size', number: true, cell: (row) => (row.gap ? '' : bytes(sizeOf(row))) },
      { title: 'Details', cell: (row) => (row.gap ? '' : detailsButton(row)) },
    ],
    shown,
    { rowKey: (row) => row.id, after: (row) => (tail.open.has(row.id) ? tailDetail(row) : null) },
  );
}

function detailsButton(row) {
  const open = tail.open.has(row.id);
  return h(
    'button',
    {
      type: 'button',
      class: 'small',
      'aria-expanded': String(open),
      on: {
        click: () => {
          if (open) {
            tail.open.delete(row.id);
          } else {
            tail.open.add(row.id);
          }
          invalidate();
        },
      },
    },
    open ? 'Close' : 'Open',
  );
}

const OPERATIONS = { r: 'read', c: 'create', u: 'update', d: 'delete', t: 'truncate', m: 'message' };

function opBadge(op) {
  return h('span', { class: `op op-${op in OPERATIONS ? op : 'other'}` }, OPERATIONS[op] ?? op ?? UNKNOWN);
}

// --- before → event → wire

function tailDetail(row) {
  return h(
    'tr',
    { key: `detail:${row.id}`, class: 'detail-row' },
    h(
      'td',
      { colspan: '6' },
      h(
        'div',
        { class: 'hops' },
        hop('Row', rowChange(row.before, row.after)),
        hop(
          'Event',
          row.records.length ? row.records.map(eventOfRecord) : h('p', { class: 'muted' }, 'None was made of it.'),
        ),
        hop('On the wire', row.records.map(wireOfRecord)),
      ),
    ),
  );
}

// A record as a reader of JSON sees it.
function eventOfRecord(record) {
  return h(
    'div',
    { class: 'record' },
    h('p', { class: 'muted breaks' }, 'topic ', h('b', null, record.topic)),
    h('h4', null, 'Key'),
    jsonOfBytes(record.key, record.key_base64),
    h('h4', null, 'Value'),
    jsonOfBytes(record.value, record.value_base64),
  );
}

function jsonOfBytes(value, base64) {
  if (value === null && base64 !== null) {
    return h('p', { class: 'muted' }, 'No JSON that can be shown: see its bytes.');
  }
  return value === null ? h('p', { class: 'muted' }, 'none (null)') : json(value);
}

// The same record as bytes.
function wireOfRecord(record) {
  const known = byteCount(record.key_base64) + byteCount(record.value_base64);
  return h(
    'div',
    { class: 'record' },
    h('p', { class: 'muted' }, bytes(record.size_bytes), known < record.size_bytes ? ', cut here' : ''),
    headersTable(record.headers),
    h('h4', null, 'Key'),
    hex(record.key_base64),
    h('h4', null, 'Value'),
    hex(record.value_base64),
  );
}

function keyText(row) {
  const [record] = row.records;
  return record ? brief(record.key ?? record.key_base64 ?? null, 60) : UNKNOWN;
}

function sizeOf(row) {
  return row.records.reduce((total, record) => total + record.size_bytes, 0);
}

function hop(title, content) {
  return h('section', { class: 'hop' }, h('h3', null, title), content);
}

// A row before and after by column, with what differs marked.
function rowChange(before, after) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  if (names.length === 0) {
    return h('p', { class: 'muted' }, 'No row belongs to it.');
  }
  const cell = (row, name) =>
    row === null || row === undefined
      ? ''
      : name in row
        ? cellText(row[name])
        : h('span', { class: 'muted' }, 'not there');
  const differs = (name) => before && after && JSON.stringify(before[name]) !== JSON.stringify(after[name]);
  return h(
    'table',
    { class: 'row-change' },
    h('caption', { class: 'unseen' }, 'The row before and after'),
    h(
      'thead',
      null,
      h(
        'tr',
        null,
        h('th', { scope: 'col' }, 'Column'),
        h('th', { scope: 'col' }, 'Before'),
        h('th', { scope: 'col' }, 'After'),
      ),
    ),
    h(
      'tbody',
      null,
      names.map((name) =>
        h(
          'tr',
          { key: name, class: differs(name) ? 'changed' : null },
          h('th', { scope: 'row' }, name, differs(name) ? h('span', { class: 'unseen' }, ' (changed)') : null),
          h('td', null, cell(before, name)),
          h('td', null, cell(after, name)),
        ),
      ),
    ),
  );
}

// A cell as documents of rows have it: text, null, a list, or an object that says what it is instead.
function cellText(value) {
  if (value === null) {
    return h('span', { class: 'json-word' }, 'null');
  }
  if (typeof value === 'object' && !Array.isArray(value)) {
    if (typeof value.unchanged === 'string') {
      return h('span', { class: 'muted', title: value.unchanged }, 'unchanged');
    }
    if (typeof value.base64 === 'string') {
      return h('span', null, badge('bytes'), ' ', brief(value.base64, 80));
    }
  }
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function headersTable(headers) {
  return headers.length
    ? [h('h4', null, 'Headers'), facts(headers.map(([name, value]) => [name, h('code', { class: 'breaks' }, value)]))]
    : null;
}

function byteCount(base64) {
  return base64 ? Math.floor((base64.replace(/=+$/, '').length * 3) / 4) : 0;
}

// Bytes in rows that fit on a phone, with the letters that they are.
function hex(base64) {
  if (base64 === null || base64 === undefined) {
    return h('p', { class: 'muted' }, 'none (null)');
  }
  const raw = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const lines = [];
  for (let start = 0; start < Math.min(raw.length, BYTES_SHOWN); start += BYTES_A_LINE) {
    lines.push(hexLine(raw.subarray(start, start + BYTES_A_LINE), start));
  }
  const rest = raw.length > BYTES_SHOWN ? `\n… ${plural(raw.length - BYTES_SHOWN, 'more byte')}` : '';
  return h(
    'div',
    null,
    h('p', { class: 'muted' }, bytes(raw.length)),
    h('pre', { class: 'code hex', tabindex: '0' }, lines.join('\n') + rest),
  );
}

function hexLine(slice, start) {
  const numbers = Array.from(slice, (byte) => byte.toString(16).padStart(2, '0'))
    .join(' ')
    .padEnd(BYTES_A_LINE * 3 - 1);
  const letters = Array.from(slice, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
  return `${start.toString(16).padStart(4, '0')}  ${numbers}  ${letters}`;
}
