// The journal: who did what, and what became of the connectors, newest first.

const JOURNAL_PAGE = 100;

function journalView(route) {
  const name = route.query.get('connector') ?? '';
  const path = `/journal?limit=${JOURNAL_PAGE}${name ? `&connector=${part(name)}` : ''}`;
  return [
    pageHeading('Journal'),
    panel(
      'What happened',
      { wide: true, request: { path }, id: 'journal' },
      h(
        'div',
        { class: 'tail-controls' },
        h(
          'label',
          { class: 'inline-field' },
          h('span', null, 'Connector'),
          h(
            'select',
            { set: { value: name }, on: { change: (event) => setQuery('connector', event.target.value) } },
            h('option', { value: '' }, 'all'),
            connectors().map((connector) =>
              h('option', { key: connector.connector, value: connector.connector }, connector.connector),
            ),
          ),
        ),
      ),
      answered(resource(path, 5 * SECOND_MS), ({ entries }) => journalEntries(entries, name)),
    ),
  ];
}

function journalEntries(newest, name) {
  const older = (ui.journalOlder?.of === name ? ui.journalOlder.entries : []).filter(
    (entry) => entry.id < (newest[0]?.id ?? 0),
  );
  const entries = [...older, ...newest].reverse();
  if (entries.length === 0) {
    return empty('Nothing has happened yet.');
  }
  return [
    table(
      'Journal',
      [
        { title: 'When', class: 'nowrap', cell: (entry) => moment(entry.at_us) },
        {
          title: 'Connector',
          class: 'breaks',
          cell: (entry) =>
            entry.connector
              ? h('a', { href: connectorLink(entry.connector) }, entry.connector)
              : h('span', { class: 'muted' }, 'the daemon'),
        },
        { title: 'Who', cell: (entry) => entry.who },
        { title: 'What', cell: (entry) => badge(entry.what) },
        { title: 'Detail', cell: (entry) => entry.detail },
      ],
      entries,
      { rowKey: (entry) => entry.id },
    ),
    ui.journalEnd === name || newest.length < JOURNAL_PAGE
      ? null
      : h(
          'button',
          { type: 'button', on: { click: () => loadOlder(entries.at(-1).id, older, name) } },
          'Show older ones',
        ),
  ];
}

async function loadOlder(before, older, name) {
  try {
    const { entries } = await ask({
      path: `/journal?limit=${JOURNAL_PAGE}&before=${before}${name ? `&connector=${part(name)}` : ''}`,
    });
    ui.journalEnd = entries.length < JOURNAL_PAGE ? name : null;
    setUi('journalOlder', { of: name, entries: [...entries, ...older] });
  } catch (error) {
    tell(error.message, 'problem');
  }
}
