// Loggers: what the daemon writes to its log, by part, changed while it runs.

const LEVELS = ['OFF', 'ERROR', 'WARN', 'INFO', 'DEBUG', 'TRACE'];

function loggersView() {
  const path = '/admin/loggers';
  return [
    pageHeading('Loggers'),
    panel(
      'Levels',
      { wide: true, request: { path }, id: 'loggers' },
      note('A change holds until the daemon is restarted. TRACE and DEBUG write a lot.'),
      answered(resource(path, 10 * SECOND_MS), (loggers) =>
        Object.keys(loggers ?? {}).length ? loggerTable(loggers, path) : empty('No logger has a level of its own.'),
      ),
    ),
  ];
}

function loggerTable(loggers, path) {
  const rows = Object.entries(loggers).sort(([a], [b]) => (b === 'root') - (a === 'root') || a.localeCompare(b));
  return [
    table(
      'Loggers',
      [
        { title: 'Logger', class: 'breaks', cell: ([name]) => h('code', null, name) },
        {
          title: 'Level',
          cell: ([name, { level }]) => levelSelect(name, level, (chosen) => run(levelAction(path, name, chosen))),
        },
        {
          title: 'Changed',
          cell: ([, { last_modified }]) => (last_modified ? timeElement(Number(last_modified)) : 'never'),
        },
        { title: 'Request', cell: ([name]) => curlButton(`logger:${name}`, `Level of ${name}`) },
      ],
      rows,
      {
        rowKey: ([name]) => name,
        after: ([name, { level }]) =>
          ui.curl === `logger:${name}`
            ? h(
                'tr',
                { key: `curl:${name}`, class: 'detail-row' },
                h('td', { colspan: '4' }, curlBox(levelAction(path, name, level))),
              )
            : null,
      },
    ),
  ];
}

function levelAction(path, name, level) {
  return {
    id: `logger:${name}`,
    label: `Level of ${name}`,
    method: 'PUT',
    path: `${path}/${part(name)}`,
    body: { level },
    done: `${name} writes ${level} and above now.`,
    after: () => reload(path),
  };
}

function levelSelect(name, level, choose) {
  const reason = whyNot({});
  const levels = LEVELS.includes(level) ? LEVELS : [level, ...LEVELS];
  return h(
    'select',
    {
      'aria-label': `Level of ${name}`,
      disabled: Boolean(reason),
      title: reason,
      set: { value: level },
      on: { change: (event) => choose(event.target.value) },
    },
    levels.map((each) => h('option', { value: each, key: each }, each)),
  );
}
