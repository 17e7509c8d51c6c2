// Snapshots: the rows that existed before the log began, by table with rate and time left; more of them when a person asks.

// Over which time the rate of a table is taken.
const SNAPSHOT_WINDOW_MS = 30000;

// Rows done by connector and table, lately: `[{atMs, rows}]`.
const rowsLately = new Map();

function snapshotsTab(connector) {
  const { connector: name } = connector;
  const path = `/connectors/${part(name)}/snapshots`;
  if (connector.kind === 'sink') {
    return empty('A sink has no snapshots.', 'It reads its topics from their beginning where it never read them.');
  }
  const entry = resource(path, POLL_MS);
  return [
    panel(
      'On request',
      { wide: true, request: { path } },
      answered(entry, (run) => [toolbar('Snapshot', snapshotActions(connector, run, path)), runOf(connector, run)]),
    ),
    initialTables(connector).length
      ? panel(
          'Initial snapshot',
          { wide: true, request: { path: '/status' } },
          snapshotTable(connector, initialTables(connector)),
        )
      : null,
  ];
}

function initialTables(connector) {
  return Object.entries(connector.tables ?? {}).map(([name, table]) => ({
    table: name,
    started_at_us: connector.since_us,
    ...table,
  }));
}

function snapshotActions(connector, run, path) {
  const is = (...states) => states.includes(run.state);
  return [
    {
      id: 'snapshot-start',
      label: is('running', 'paused') ? 'Add tables …' : 'Start a snapshot …',
      method: 'POST',
      path,
      body: { tables: [], conditions: [] },
      kind: 'primary',
      ask: () => openSnapshotDialog(connector, path),
    },
    {
      id: 'snapshot-pause',
      label: 'Pause snapshot',
      method: 'PUT',
      path: `${path}/pause`,
      disabled: is('running') ? null : 'None is running.',
      done: 'The snapshot is being paused; changes go on.',
    },
    {
      id: 'snapshot-resume',
      label: 'Resume snapshot',
      method: 'PUT',
      path: `${path}/resume`,
      disabled: is('paused') ? null : 'None is paused.',
      done: 'The snapshot goes on.',
    },
    {
      id: 'snapshot-abort',
      label: 'Abort snapshot',
      method: 'DELETE',
      path,
      kind: 'danger',
      disabled: is('running', 'paused') ? null : 'None is under way.',
      done: 'The snapshot is given up.',
    },
  ];
}

function runOf(connector, run) {
  if (run.state === 'none') {
    return empty(
      'No snapshot was asked for.',
      'One reads tables again beside the log, without stopping it: after rows were repaired, or for a new consumer.',
    );
  }
  return [
    facts([
      ['State', badge(run.state, { running: 'good', finished: 'good', aborted: 'alarm' }[run.state] ?? '')],
      run.requested_at_us ? ['Asked for', when(run.requested_at_us)] : null,
      run.by ? ['By', run.by] : null,
    ]),
    run.waiting ? h('p', { class: 'note warning' }, h('code', null, run.waiting.code), ' ', run.waiting.message) : null,
    snapshotTable(connector, run.tables ?? [], run.state !== 'running'),
  ];
}

function snapshotTable(connector, tables, paused = false) {
  const rows = tables.map((table) => ({ ...table, ...pace(connector.connector, table) }));
  return table(
    'Progress by table',
    [
      {
        title: 'Table',
        class: 'breaks',
        cell: (row) => [row.table, row.condition ? h('span', { class: 'muted' }, `only ${row.condition}`) : null],
      },
      { title: 'Progress', class: 'progress-cell', cell: (row) => progressCell(row) },
      {
        title: 'Rows',
        number: true,
        cell: (row) =>
          row.rows_estimated ? `${count(row.rows_done)} of about ${count(row.rows_estimated)}` : count(row.rows_done),
      },
      {
        title: 'Rate',
        number: true,
        cell: (row) => (row.finished || row.error || paused ? UNKNOWN : perSecond(row.rate)),
      },
      { title: 'Left', number: true, cell: (row) => leftCell(row, paused) },
    ],
    rows,
    { rowKey: (row) => row.table },
  );
}

function progressCell(row) {
  if (row.error) {
    return h('span', { class: 'problem-text' }, h('code', null, row.error.code), ' ', row.error.message);
  }
  return progressBar(`Snapshot of ${row.table}`, row.rows_done, row.rows_estimated, row.finished);
}

function leftCell(row, paused) {
  if (row.error) {
    return badge('failed', 'alarm');
  }
  if (row.finished) {
    return badge('finished', 'good');
  }
  if (paused || !row.rate || !row.rows_estimated) {
    return row.started_at_us || paused ? UNKNOWN : 'waits';
  }
  const rows = row.rows_estimated - row.rows_done;
  return rows > 0 ? `about ${duration((rows / row.rate) * 1000)}` : 'soon';
}

// Rows per second of a table, from what was seen since the page looks.
function pace(connector, { table, rows_done }) {
  const key = `${connector}\n${table}`;
  const now = Date.now();
  const lately = (rowsLately.get(key) ?? []).filter(
    (sample) => sample.atMs > now - SNAPSHOT_WINDOW_MS && sample.rows <= rows_done,
  );
  const last = lately.at(-1);
  const seen = !last || now - last.atMs >= SECOND_MS ? [...lately, { atMs: now, rows: rows_done }] : lately;
  rowsLately.set(key, seen);
  const [first] = seen;
  const newest = seen.at(-1);
  return { rate: newest.atMs > first.atMs ? ((newest.rows - first.rows) * 1000) / (newest.atMs - first.atMs) : null };
}

// --- the dialog

function openSnapshotDialog(connector, path) {
  const given = { tables: new Set(), conditions: new Set(), more: '' };
  openDialog({
    key: 'snapshot',
    title: `Snapshot of ${connector.connector}`,
    view: () => snapshotForm(connector, path, given),
  });
}

function snapshotBody(given) {
  const typed = given.more
    .split(/[\n,]/)
    .map((name) => name.trim())
    .filter(Boolean);
  return { tables: [...given.tables, ...typed], conditions: [...given.conditions] };
}

function snapshotForm(connector, path, given) {
  const body = snapshotBody(given);
  const action = {
    id: 'snapshot-start',
    label: 'Start',
    method: 'POST',
    path,
    body,
    done: 'The snapshot is asked for.',
  };
  const submit = (event) => {
    event.preventDefault();
    closeDialog();
    run(action);
  };
  return h(
    'form',
    { class: 'dialog-body', on: { submit } },
    h('p', null, 'Rows are read in pieces beside the log, which goes on. Consumers see them as reads (op r).'),
    tableChoices(connector, given),
    conditionChoices(connector, given),
    h('details', null, h('summary', null, 'curl'), copyable(curl(action), { language: 'shell' })),
    h(
      'div',
      { class: 'dialog-actions' },
      closeButton(),
      h('button', { type: 'submit', class: 'primary' }, startWords(body)),
    ),
  );
}

function startWords({ tables, conditions }) {
  const words = [
    tables.length && plural(tables.length, 'table'),
    conditions.length && plural(conditions.length, 'condition'),
  ].filter(Boolean);
  return `Start with ${words.join(' and ') || 'all tables'}`;
}

// The tables that are known by now; others may be typed.
function knownTables(connector) {
  const topics = Object.values(connector.topics ?? {})
    .map((topic) => topic.table)
    .filter(Boolean);
  const schemas =
    resource(`/connectors/${part(connector.connector)}/schemas`).value?.tables?.map((table) => table.table) ?? [];
  return [...new Set([...Object.keys(connector.tables ?? {}), ...topics, ...schemas])].sort();
}

function tableChoices(connector, given) {
  const known = knownTables(connector);
  const more = h('textarea', {
    rows: '2',
    spellcheck: 'false',
    placeholder: 'public.orders',
    on: {
      input: (event) => {
        given.more = event.target.value;
        invalidate();
      },
    },
  });
  return h(
    'fieldset',
    null,
    h('legend', null, 'Tables'),
    known.length
      ? h(
          'div',
          { class: 'checks' },
          known.map((name) => check(name, given.tables)),
        )
      : null,
    field(
      known.length ? 'Other tables' : 'Tables',
      'snapshot-tables',
      more,
      'One a line. Nothing chosen and nothing typed: all tables of the connector.',
    ),
  );
}

function check(name, chosen, detail) {
  return h(
    'label',
    { class: 'check', key: name },
    h('input', {
      type: 'checkbox',
      set: { checked: chosen.has(name) },
      on: {
        change: (event) => {
          if (event.target.checked) {
            chosen.add(name);
          } else {
            chosen.delete(name);
          }
          invalidate();
        },
      },
    }),
    h('span', null, name, detail ? h('span', { class: 'muted' }, ` ${detail}`) : null),
  );
}

// Conditions have names and tables in the configuration; a request can only choose among them.
function conditionChoices(connector, given) {
  const config = resource(`/connectors/${part(connector.connector)}/config?form=nested`).value;
  const conditions = Object.entries(config?.source?.snapshot?.conditions ?? {});
  return h(
    'fieldset',
    null,
    h('legend', null, 'Only the rows that meet a condition'),
    conditions.length
      ? h(
          'div',
          { class: 'checks' },
          conditions.map(([name, { table: of, where }]) => check(name, given.conditions, `of ${of} where ${where}`)),
        )
      : h(
          'p',
          { class: 'hint' },
          'The configuration names none (source.snapshot.conditions), so tables are read whole.',
        ),
  );
}
