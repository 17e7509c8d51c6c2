// One connector: its state and what can be done about it, and tabs for everything else.

const TABS = [
  ['', 'Overview', connectorOverview],
  ['snapshots', 'Snapshots', snapshotsTab],
  ['tail', 'Live tail', tailTab],
  ['letters', 'Dead letters', lettersTab],
  ['schemas', 'Schemas', schemasTab],
  ['preflight', 'Preflight', preflightTab],
  ['configuration', 'Configuration', configurationTab],
  ['offsets', 'Offsets', offsetsTab],
];

function connectorView(route) {
  const [, name, tab = ''] = route.path;
  const connector = connectorNamed(name);
  if (!connector) {
    return [
      pageHeading(name),
      empty(
        'There is no connector of this name.',
        'It may have been deleted. ',
        h('a', { href: '#/' }, 'Show all connectors'),
      ),
    ];
  }
  const known = TABS.find(([id]) => id === tab) ?? TABS[0];
  return [
    h(
      'nav',
      { class: 'crumbs', 'aria-label': 'Where this is' },
      h('a', { href: '#/' }, 'Connectors'),
      ' / ',
      h('span', { 'aria-current': 'page' }, name),
    ),
    pageHeading(name, stateChip(connector), h('span', { class: 'muted' }, 'since ', when(connector.since_us))),
    stateCallout(connector),
    toolbar(`Actions on ${name}`, lifecycleActions(connector)),
    tabs(connector, known[0]),
    h('div', { class: 'tab', key: `tab:${name}:${known[0]}` }, known[2](connector, route)),
  ];
}

function stateCallout(connector) {
  if (!connector.reason) {
    return null;
  }
  return h(
    'div',
    { class: `callout state-${connector.state}`, key: 'callout' },
    h('p', null, connector.code ? h('code', null, connector.code) : null, ' ', connector.reason),
    connector.state === 'halted'
      ? h('p', { class: 'muted' }, 'It waits for a person. When the cause is mended, restart it.')
      : null,
  );
}

function tabs(connector, current) {
  return h(
    'nav',
    { class: 'tabs', 'aria-label': `Views of ${connector.connector}`, key: 'tabs' },
    TABS.map(([id, label]) =>
      h(
        'a',
        { key: id, href: connectorLink(connector.connector, id), 'aria-current': id === current ? 'page' : null },
        label,
        tabCount(connector, id),
      ),
    ),
  );
}

function tabCount(connector, id) {
  const waiting = id === 'letters' ? connector.dead_letters?.waiting : 0;
  return waiting ? h('span', { class: 'tab-count' }, count(waiting)) : null;
}

// --- actions

function lifecycleActions(connector) {
  const { connector: name, wanted, origin } = connector;
  const path = `/connectors/${part(name)}`;
  const is = (state) => (wanted ?? connector.state) === state;
  return [
    {
      id: 'pause',
      label: 'Pause',
      method: 'PUT',
      path: `${path}/pause`,
      disabled: is('running') || connector.state === 'streaming' ? null : `It is ${wanted ?? connector.state} already.`,
      done: `${name} is being paused.`,
      title: 'Nothing is read; what is open stays open',
    },
    {
      id: 'resume',
      label: 'Resume',
      method: 'PUT',
      path: `${path}/resume`,
      disabled: is('paused') || is('stopped') ? null : 'It is neither paused nor stopped.',
      done: `${name} goes on.`,
    },
    {
      id: 'restart',
      label: 'Restart',
      method: 'POST',
      path: `${path}/restart?includeTasks=true&onlyFailed=false`,
      done: `${name} is being restarted.`,
    },
    {
      id: 'stop',
      label: 'Stop',
      method: 'PUT',
      path: `${path}/stop`,
      disabled: is('stopped') ? 'It is stopped already.' : null,
      done: `${name} is being stopped.`,
      title: 'Connections are closed; progress is kept',
    },
    {
      id: 'delete',
      label: 'Delete',
      method: 'DELETE',
      path,
      role: 'admin',
      kind: 'danger',
      named: name,
      done: `${name} is deleted.`,
      warning:
        'The connector ends, and its configuration is forgotten. Its progress stays: a connector of the same name goes on from there.',
      after: () => {
        location.hash = '#/';
      },
      disabled: origin === 'file' ? 'It is written in the configuration file: remove it there.' : null,
    },
  ];
}

// --- overview

function connectorOverview(connector) {
  return [
    ownStrip(connector),
    noticesPanel(connector),
    h('div', { class: 'columns' }, figuresPanel(connector), retentionPanel(connector), letterPanel(connector)),
    chartsPanel(connector),
    partitionsPanel(connector),
    initialSnapshotPanel(connector),
    gapPanel(connector),
    topicsPanel(connector),
  ];
}

function ownStrip(connector) {
  const { connector: name, kind, type, stream, stream_type } = connector;
  const samples = historyOf(name);
  const rate = (key) => rateOf(name, key);
  const transforms = stage(
    'transforms',
    isNumber(connector.filtered) ? `${count(connector.filtered)} left out since the start` : 'filters, masks, routes',
    perSecond(rate('filtered')),
    'left out',
    ratesOf(samples, 'filtered'),
  );
  const streamStage = (figure, unit, values) =>
    stage(stream ?? 'stream', stream_type ? `${stream_type} stream` : 'stream', figure, unit, values, 'stream');
  const stages =
    kind === 'sink'
      ? [
          streamStage(perSecond(rate('changes')), 'records read', ratesOf(samples, 'changes')),
          transforms,
          stage(type ?? 'database', 'sink', perSecond(rate('records')), 'records written', ratesOf(samples, 'records')),
        ]
      : [
          stage(type ?? 'database', 'source', perSecond(rate('changes')), 'changes', ratesOf(samples, 'changes')),
          transforms,
          streamStage(
            bytesPerSecond(rate('bytes')),
            `${perSecond(rate('records'))} records`,
            ratesOf(samples, 'records'),
          ),
        ];
  return panel('Flow', { wide: true }, strip(`Flow of ${name}`, stages));
}

function noticesPanel(connector) {
  const all = Object.entries(connector.notices ?? {});
  return all.length
    ? panel(
        'Notices',
        { wide: true },
        h(
          'ul',
          { class: 'plain' },
          all.map(([code, text]) => h('li', { class: 'note warning', key: code }, h('code', null, code), ' ', text)),
        ),
      )
    : null;
}

function figuresPanel(connector) {
  const inFlight = isNumber(connector.bytes_in_flight) ? ` (${bytes(connector.bytes_in_flight)})` : '';
  return panel(
    'Figures',
    { request: { path: '/status' } },
    facts([
      ['Lag', lagCell(connector)],
      ['Commit to durable', duration(connector.latency_ms)],
      ['In flight', `${plural(connector.batches_in_flight ?? 0, 'batch', 'batches')}${inFlight}`],
      ['Changes', count(connector.changes)],
      ['Durable records', `${count(connector.records)}, ${bytes(connector.bytes)}`],
      ['Retries', count(connector.retries)],
      connector.caught_up_us ? ['Caught up', when(connector.caught_up_us)] : null,
      connector.away ? ['Away before it went on', ...awayText(connector.away)] : null,
      ['Written in', connector.origin === 'http' ? 'the state, over HTTP' : 'the configuration file'],
    ]),
    // Some positions are as long as a list of tables: they have a line of their own.
    connector.position ? facts([['Position', h('code', { class: 'breaks' }, connector.position)]]) : null,
  );
}

// Of one that was killed only the most is known.
function awayText(away) {
  return [away.is_exact ? '' : 'at most ', duration(away.ms), ', until ', when(away.until_us)];
}

function retentionPanel(connector) {
  const { retention } = connector;
  if (!retention) {
    return null;
  }
  const known = isNumber(retention.safe_bytes);
  const limit = retention.retained_bytes + (retention.safe_bytes ?? 0);
  const text = known ? `${bytes(retention.retained_bytes)} of ${bytes(limit)}` : bytes(retention.retained_bytes);
  return panel(
    'Retained log',
    {},
    h('p', { class: 'big' }, text),
    known ? meter('Log retained', retention.retained_bytes, limit, text) : null,
    h('p', null, retention.summary),
    facts([
      known ? ['May still be written', bytes(retention.safe_bytes)] : null,
      isNumber(retention.seconds_to_loss) ? ['At this rate lost in', duration(retention.seconds_to_loss * 1000)] : null,
    ]),
  );
}

function letterPanel(connector) {
  const letters = connector.dead_letters;
  if (!letters?.waiting) {
    return null;
  }
  return panel(
    'Dead letters',
    {},
    h('p', { class: 'big' }, plural(letters.waiting, 'event'), ' waiting'),
    facts([
      ['Oldest', when(letters.oldest_us)],
      ['Newest reason', letters.newest_reason ?? UNKNOWN],
    ]),
    h('p', null, h('a', { href: connectorLink(connector.connector, 'letters') }, 'Show them')),
  );
}

const RANGES = [
  ['15', '15 minutes'],
  ['60', '1 hour'],
];

function chartsPanel(connector) {
  const minutes = Number(ui.range ?? '60');
  const from = Date.now() - minutes * MINUTE_MS;
  const all = historyOf(connector.connector);
  const start = all.findIndex((sample) => sample.atMs >= from);
  const samples = start < 0 ? [] : all.slice(start);
  const rates = (name) => ratesOf(all, name).slice(start < 0 ? all.length : start);
  const values = (name) => samples.map((sample) => sample[name]);
  const { retention } = connector;
  const limit = isNumber(retention?.safe_bytes) ? retention.retained_bytes + retention.safe_bytes : null;
  return panel(
    'History',
    {
      wide: true,
      request: { path: `/connectors/${part(connector.connector)}/history` },
      actions: choice('How far back', RANGES, ui.range ?? '60', (range) => setUi('range', range)),
    },
    h('div', { class: 'charts' }, [
      chart({
        key: 'throughput',
        title: 'Throughput',
        samples,
        text: perSecond,
        lines: [
          { label: 'records', color: 'a', values: rates('records') },
          { label: 'changes', color: 'b', values: rates('changes') },
        ],
      }),
      chart({
        key: 'bytes',
        title: 'Bytes',
        samples,
        text: bytesPerSecond,
        isBytes: true,
        lines: [{ label: 'durable', color: 'a', values: rates('bytes') }],
      }),
      connector.kind === 'sink'
        ? chart({
            key: 'lag-events',
            title: 'Lag in events',
            samples,
            text: count,
            lines: [{ label: 'lag', color: 'c', values: values('lag_events') }],
          })
        : chart({
            key: 'lag-bytes',
            title: 'Lag in bytes',
            samples,
            text: bytes,
            isBytes: true,
            lines: [{ label: 'lag', color: 'c', values: values('lag_bytes') }],
            note: 'This source does not tell its lag in bytes.',
          }),
      chart({
        key: 'lag-time',
        title: 'Lag in time',
        samples,
        text: duration,
        lines: [{ label: 'lag', color: 'c', values: values('lag_ms') }],
      }),
      retention
        ? chart({
            key: 'retained',
            title: 'Retained log',
            samples,
            text: bytes,
            isBytes: true,
            limit,
            lines: [{ label: 'retained', color: 'd', values: values('retained_bytes') }],
          })
        : null,
    ]),
  );
}

function partitionsPanel(connector) {
  const all = Object.entries(connector.partitions ?? {}).sort(([a], [b]) =>
    a.localeCompare(b, 'en', { numeric: true }),
  );
  return all.length
    ? panel(
        'Partitions',
        { wide: true },
        table(
          'Partitions',
          [
            { title: 'Partition', class: 'breaks', cell: ([name]) => name },
            { title: 'Next offset', number: true, cell: ([, progress]) => count(progress.next_offset) },
            { title: 'End', number: true, cell: ([, progress]) => count(progress.end_offset) },
            {
              title: 'Lag',
              number: true,
              cell: ([, progress]) =>
                isNumber(progress.lag_records) ? plural(progress.lag_records, 'record') : UNKNOWN,
            },
            {
              title: 'Written',
              class: 'meter-cell',
              cell: ([name, progress]) =>
                progress.end_offset > 0
                  ? progressBar(
                      `Written of ${name}`,
                      progress.next_offset,
                      progress.end_offset,
                      progress.next_offset >= progress.end_offset,
                    )
                  : UNKNOWN,
            },
          ],
          all,
          { rowKey: ([name]) => name },
        ),
      )
    : null;
}

// While it goes on; afterwards the tab of snapshots has it.
function initialSnapshotPanel(connector) {
  const all = Object.entries(connector.tables ?? {});
  return all.some(([, table]) => !table.finished)
    ? panel(
        'Snapshot',
        { wide: true, request: { path: '/status' } },
        snapshotTable(connector, initialTables(connector)),
      )
    : null;
}

function gapPanel(connector) {
  const all = Object.entries(connector.gap_safety ?? {});
  const window = connector.delay_window;
  return all.length || window
    ? panel(
        'Rows that commit late',
        { wide: true },
        all.length
          ? table(
              'Rows that commit late',
              [
                { title: 'Table', class: 'breaks', cell: ([name]) => name },
                {
                  title: 'Can be skipped',
                  cell: ([, safety]) =>
                    badge(
                      { proven: 'no, proven', delay_window: 'covered by the delay', none: 'yes' }[safety.gap_safety] ??
                        safety.gap_safety,
                      safety.gap_safety === 'none' ? 'warning' : 'good',
                    ),
                },
                { title: 'Why', cell: ([, safety]) => safety.reason },
              ],
              all,
              { rowKey: ([name]) => name },
            )
          : null,
        window
          ? facts([
              ['Delay', duration(window.delay_ms)],
              ['Longest open transaction', duration(window.longest_transaction_ms)],
            ])
          : null,
      )
    : null;
}

function topicsPanel(connector) {
  const all = Object.entries(connector.topics ?? {});
  return all.length
    ? panel(
        'Topics',
        { wide: true },
        table(
          'Topics',
          [
            { title: 'Topic', class: 'breaks', cell: ([name]) => name },
            { title: 'Table', class: 'breaks', cell: ([, topic]) => topic.table || UNKNOWN },
            { title: 'Owner', cell: ([, topic]) => topic.owner ?? UNKNOWN },
            {
              title: 'Schemas',
              cell: ([, topic]) =>
                [topic.key_schema && `key ${topic.key_schema}`, topic.value_schema && `value ${topic.value_schema}`]
                  .filter(Boolean)
                  .join(', ') || UNKNOWN,
            },
            { title: 'About', cell: ([, topic]) => topicWords(topic) },
          ],
          all,
          { rowKey: ([name]) => name },
        ),
      )
    : null;
}

function topicWords(topic) {
  const words = [
    topic.documentation,
    topic.trigger && `When: ${topic.trigger}`,
    topic.superseded_by && `Superseded by ${topic.superseded_by}`,
    topic.left_out?.length && `Left out: ${topic.left_out.join(', ')}`,
  ]
    .filter(Boolean)
    .join(' ');
  return [words || (topic.tags?.length ? null : UNKNOWN), (topic.tags ?? []).map((tag) => badge(tag))];
}
