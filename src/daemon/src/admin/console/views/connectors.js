// The first view: what flows through each stream, and every connector with its state and reason.

// What needs a person comes first.
const STATES = ['halted', 'degraded', 'starting', 'snapshotting', 'streaming', 'paused', 'stopped'];

function connectorsView(route) {
  const all = connectors();
  if (all.length === 0) {
    return [
      pageHeading('Connectors', createLink()),
      empty(
        'There are no connectors yet.',
        'Name some in the configuration file, or ',
        h('a', { href: '#/create' }, 'create one here'),
        '.',
      ),
    ];
  }
  const shown = filtered(all, route.query);
  return [
    pageHeading('Connectors', createLink()),
    flows(all),
    panel(
      'All connectors',
      { request: { path: '/status' }, wide: true },
      filters(all, route.query),
      shown.length
        ? connectorTable(shown)
        : empty('No connector is like this.', h('a', { href: '#/' }, 'Show all of them')),
    ),
  ];
}

function pageHeading(text, ...beside) {
  return h('div', { class: 'page-heading' }, h('h1', { tabindex: '-1', id: 'heading' }, text), beside);
}

function createLink() {
  return h('a', { class: 'button', href: '#/create' }, 'Create a connector');
}

// --- filters, which are part of the address

function filtered(all, query) {
  const words = (query.get('q') ?? '').toLowerCase();
  const wanted = query.get('state');
  const kind = query.get('kind');
  const matches = (connector) =>
    (!wanted || connector.state === wanted) &&
    (!kind || connector.kind === kind) &&
    (!words ||
      [connector.connector, connector.type, connector.stream, connector.reason].some((text) =>
        (text ?? '').toLowerCase().includes(words),
      ));
  return all
    .filter(matches)
    .sort((a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) || a.connector.localeCompare(b.connector));
}

function filters(all, query) {
  const counts = STATES.map((name) => [name, all.filter((connector) => connector.state === name).length]).filter(
    ([, number]) => number > 0,
  );
  const link = (name, label, number) => {
    const current = (query.get('state') ?? '') === name;
    return h(
      'a',
      {
        class: name ? `filter state-${name}` : 'filter',
        key: name,
        href: `#/${queryWith(query, 'state', current ? '' : name)}`,
        'aria-current': current ? 'true' : null,
      },
      name ? icon(...ICONS[name]) : null,
      label,
      ' ',
      h('b', null, count(number)),
    );
  };
  return h(
    'div',
    { class: 'filters' },
    h(
      'nav',
      { class: 'filter-states', 'aria-label': 'By state' },
      link('', 'all', all.length),
      counts.map(([name, number]) => link(name, name, number)),
    ),
    h(
      'label',
      { class: 'inline-field' },
      h('span', { class: 'unseen' }, 'Search names, types, streams and reasons'),
      h('input', {
        type: 'search',
        placeholder: 'Search',
        set: { value: query.get('q') ?? '' },
        on: { input: (event) => setQuery('q', event.target.value) },
      }),
    ),
    h(
      'label',
      { class: 'inline-field' },
      h('span', { class: 'unseen' }, 'Sources or sinks'),
      h(
        'select',
        { set: { value: query.get('kind') ?? '' }, on: { change: (event) => setQuery('kind', event.target.value) } },
        h('option', { value: '' }, 'Sources and sinks'),
        h('option', { value: 'source' }, 'Sources'),
        h('option', { value: 'sink' }, 'Sinks'),
      ),
    ),
  );
}

function queryWith(query, name, value) {
  const changed = new URLSearchParams(query);
  if (value) {
    changed.set(name, value);
  } else {
    changed.delete(name);
  }
  const text = changed.toString();
  return text ? `?${text}` : '';
}

// The address changes without a step in the browser's history for each letter.
function setQuery(name, value) {
  const { path, query } = currentRoute();
  history.replaceState(null, '', `#/${path.map(part).join('/')}${queryWith(query, name, value)}`);
  invalidate();
}

// --- the strip: source → transforms → stream → sink

function flows(all) {
  const streams = [...new Set(all.map((connector) => connector.stream ?? 'stream'))].sort();
  return panel(
    'Flow',
    { wide: true },
    streams.map((stream) =>
      flow(
        stream,
        all.filter((connector) => (connector.stream ?? 'stream') === stream),
      ),
    ),
  );
}

function sum(rates) {
  const known = rates.filter(isNumber);
  return known.length ? known.reduce((total, rate) => total + rate, 0) : null;
}

function flow(stream, members) {
  const sources = members.filter((connector) => connector.kind !== 'sink').map((connector) => connector.connector);
  const sinks = members.filter((connector) => connector.kind === 'sink').map((connector) => connector.connector);
  const rate = (names, name) => sum(names.map((connector) => rateOf(connector, name)));
  const type = members.find((connector) => connector.stream_type)?.stream_type;
  return strip(`Stream ${stream}`, [
    sources.length
      ? stage(
          plural(sources.length, 'source'),
          namesOf(sources),
          perSecond(rate(sources, 'changes')),
          'changes',
          summedRates(sources, 'changes'),
        )
      : null,
    stage(
      'transforms',
      'filters, masks, routes',
      perSecond(rate([...sources, ...sinks], 'filtered')),
      'left out',
      null,
    ),
    stage(
      stream,
      type ? `${type} stream` : 'stream',
      bytesPerSecond(rate(sources, 'bytes')),
      `${perSecond(rate(sources, 'records'))} records`,
      summedRates(sources, 'records'),
      'stream',
    ),
    sinks.length
      ? stage(
          plural(sinks.length, 'sink'),
          namesOf(sinks),
          perSecond(rate(sinks, 'records')),
          'records',
          summedRates(sinks, 'records'),
        )
      : null,
  ]);
}

function namesOf(names) {
  return names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${count(names.length - 3)} more` : names.join(', ');
}

function strip(label, stages) {
  return h(
    'ol',
    { class: 'strip', key: label, 'aria-label': label },
    stages
      .filter(Boolean)
      .map((content, index) =>
        h(
          'li',
          { class: 'stage', key: index },
          index ? h('span', { class: 'flow-mark' }, icon(...ICONS.flow)) : null,
          content,
        ),
      ),
  );
}

function stage(title, detail, figure, unit, values, kind = '') {
  return h(
    'div',
    { class: `stage-body ${kind}` },
    h('span', { class: 'stage-title' }, title),
    h('span', { class: 'stage-detail muted' }, detail),
    h('span', { class: 'stage-figure' }, figure, ' ', h('small', null, unit)),
    values ? sparkline(values) : null,
  );
}

// --- the table

function connectorTable(shown) {
  return table(
    'Connectors',
    [
      { title: 'Connector', class: 'name-cell', cell: nameCell },
      {
        title: 'State',
        class: 'state-cell',
        cell: (connector) => [stateChip(connector), h('span', { class: 'muted since' }, when(connector.since_us))],
      },
      {
        title: 'Reason',
        class: 'reason-cell',
        cell: (connector) => [h('span', { class: 'reason' }, connector.reason || UNKNOWN), warnings(connector)],
      },
      { title: 'Records', number: true, class: 'rate-cell', cell: rateCell },
      { title: 'Lag', number: true, cell: lagCell },
      { title: 'Retained log', class: 'meter-cell', cell: retentionCell },
    ],
    shown,
    { rowKey: (connector) => connector.connector, rowClass: (connector) => `row-${connector.state}` },
  );
}

function nameCell(connector) {
  const name = connector.connector;
  const way =
    connector.kind === 'sink'
      ? `${connector.stream ?? 'stream'} → ${connector.type ?? 'database'}`
      : `${connector.type ?? 'database'} → ${connector.stream ?? 'stream'}`;
  return [h('a', { class: 'connector-name', href: connectorLink(name) }, name), h('span', { class: 'muted' }, way)];
}

function connectorLink(name, tab = '') {
  return `#/connectors/${part(name)}${tab ? `/${tab}` : ''}`;
}

function rateCell(connector) {
  const values = ratesOf(historyOf(connector.connector), 'records');
  return [sparkline(values), h('span', null, perSecond(rateOf(connector.connector, 'records')))];
}

function lagCell(connector) {
  const lags = [
    isNumber(connector.lag_bytes) ? bytes(connector.lag_bytes) : null,
    isNumber(connector.lag_ms) ? duration(connector.lag_ms) : null,
    isNumber(connector.lag_events) ? plural(connector.lag_events, 'event') : null,
  ].filter(Boolean);
  return lags.length ? lags.map((lag) => h('span', { class: 'lag' }, lag)) : UNKNOWN;
}

function retentionCell(connector) {
  const { retention } = connector;
  if (!retention) {
    return UNKNOWN;
  }
  if (!isNumber(retention.safe_bytes)) {
    return [bytes(retention.retained_bytes), h('span', { class: 'muted' }, 'no limit')];
  }
  const limit = retention.retained_bytes + retention.safe_bytes;
  const text = `${bytes(retention.retained_bytes)} of ${bytes(limit)}`;
  return [text, meter(`Log retained for ${connector.connector}`, retention.retained_bytes, limit, text)];
}

function warnings(connector) {
  const waiting = connector.dead_letters?.waiting ?? 0;
  const others = Object.keys(connector.notices ?? {}).filter((code) => code !== 'dead_letters').length;
  return h(
    'span',
    { class: 'warnings' },
    waiting
      ? h(
          'a',
          { class: 'badge warning', href: connectorLink(connector.connector, 'letters') },
          plural(waiting, 'dead letter'),
        )
      : null,
    others ? h('a', { class: 'badge', href: connectorLink(connector.connector) }, plural(others, 'notice')) : null,
  );
}
