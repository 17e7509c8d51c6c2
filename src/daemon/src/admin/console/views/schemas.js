// Schemas: the definitions of each table that the connector knows, newest first, with what each changed.

function schemasTab(connector) {
  const path = `/connectors/${part(connector.connector)}/schemas`;
  return panel(
    'Schemas',
    { wide: true, request: { path }, id: 'schemas' },
    answered(resource(path, 30 * SECOND_MS), ({ tables }) =>
      tables.length
        ? [
            tableSearch(tables),
            tables
              .filter((table) => table.table.toLowerCase().includes((ui.schemaFilter ?? '').toLowerCase()))
              .map(schemaOf),
          ]
        : empty(
            'No table is known yet.',
            'Definitions are kept when the first change of a table comes, or its snapshot.',
          ),
    ),
  );
}

function tableSearch(tables) {
  return tables.length > 5
    ? h(
        'label',
        { class: 'inline-field' },
        h('span', { class: 'unseen' }, 'Only tables with this text'),
        h('input', {
          type: 'search',
          placeholder: 'Table',
          set: { value: ui.schemaFilter ?? '' },
          on: { input: (event) => setUi('schemaFilter', event.target.value) },
        }),
      )
    : null;
}

function schemaOf({ table: name, versions }) {
  const newestFirst = [...versions].sort((a, b) => b.version - a.version);
  return h(
    'section',
    { class: 'schema', key: name },
    h('h3', { class: 'breaks' }, name),
    newestFirst.map((version, index) => schemaVersion(name, version, newestFirst[index + 1], index === 0)),
  );
}

function schemaVersion(name, version, before, open) {
  const changes = before ? differences(before.columns, version.columns) : new Map();
  return h(
    'details',
    { key: version.version, set: { open } },
    h(
      'summary',
      null,
      `Version ${version.version}`,
      ' ',
      h(
        'span',
        { class: 'muted' },
        plural(version.columns.length, 'column'),
        version.position ? [' from ', h('code', { class: 'breaks' }, version.position)] : null,
      ),
      ' ',
      version.announced ? badge('announced') : null,
      before ? changeBadges(changes) : null,
    ),
    table(
      `Columns of ${name}, version ${version.version}`,
      [
        { title: 'Column', class: 'breaks', cell: (column) => [column.name, ' ', column.key ? badge('key') : null] },
        {
          title: 'Type',
          class: 'breaks',
          cell: (column) =>
            h('code', null, typeof column.type === 'string' ? column.type : JSON.stringify(column.type)),
        },
        { title: 'May be null', cell: (column) => (column.optional ? 'yes' : 'no') },
        {
          title: 'Change',
          cell: (column) =>
            changes.has(column.name)
              ? badge(changes.get(column.name), changes.get(column.name) === 'gone' ? 'alarm' : 'good')
              : '',
        },
      ],
      [...version.columns, ...goneColumns(before, version)],
      { rowKey: (column) => column.name, rowClass: (column) => (changes.get(column.name) === 'gone' ? 'gone' : null) },
    ),
  );
}

function goneColumns(before, version) {
  const names = new Set(version.columns.map((column) => column.name));
  return before ? before.columns.filter((column) => !names.has(column.name)) : [];
}

// What became of each column that is not as before.
function differences(before, after) {
  const old = new Map(before.map((column) => [column.name, JSON.stringify(column)]));
  const found = new Map();
  for (const column of after) {
    if (!old.has(column.name)) {
      found.set(column.name, 'new');
    } else if (old.get(column.name) !== JSON.stringify(column)) {
      found.set(column.name, 'changed');
    }
    old.delete(column.name);
  }
  for (const name of old.keys()) {
    found.set(name, 'gone');
  }
  return found;
}

function changeBadges(changes) {
  const kinds = ['new', 'changed', 'gone'];
  return kinds
    .map((kind) => [kind, [...changes.values()].filter((change) => change === kind).length])
    .filter(([, number]) => number > 0)
    .map(([kind, number]) => [' ', badge(`${count(number)} ${kind}`, kind === 'gone' ? 'alarm' : 'good')]);
}
