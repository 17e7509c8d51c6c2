// Offsets: where a connector is, as Kafka Connect shows and changes it, and the topics that it used.

function offsetsTab(connector) {
  const base = `/connectors/${part(connector.connector)}`;
  const path = `${base}/offsets`;
  const topicsPath = `${base}/topics`;
  return [
    panel(
      'Offsets',
      { wide: true, request: { path }, id: 'offsets' },
      answered(resource(path, 10 * SECOND_MS), (answer) => [
        offsetTable(answer),
        toolbar('Offsets', offsetActions(connector, answer, path)),
      ]),
    ),
    panel(
      'Topics used',
      { wide: true, request: { path: topicsPath }, id: 'topics' },
      answered(resource(topicsPath, 30 * SECOND_MS), (answer) => topicList(connector, answer)),
    ),
  ];
}

function offsetTable({ offsets }) {
  if (!offsets?.length) {
    return empty('It has no offsets yet.');
  }
  return table(
    'Offsets',
    [
      { title: 'Of', class: 'breaks', cell: (entry) => h('code', null, JSON.stringify(entry.partition)) },
      { title: 'Offset', class: 'breaks', cell: (entry) => h('code', null, JSON.stringify(entry.offset)) },
    ],
    offsets,
    { rowKey: (entry) => JSON.stringify(entry.partition) },
  );
}

function offsetActions(connector, answer, path) {
  const stopped = connector.wanted === 'stopped' && connector.state === 'stopped';
  const disabled = stopped ? null : 'Stop the connector first: offsets of one that runs would be written over.';
  return [
    {
      id: 'offsets-alter',
      label: 'Alter …',
      method: 'PATCH',
      path,
      body: answer,
      role: 'admin',
      disabled,
      ask: () => openOffsetsDialog(connector, answer, path),
    },
    {
      id: 'offsets-reset',
      label: 'Reset',
      what: `the offsets of ${connector.connector}`,
      method: 'DELETE',
      path,
      role: 'admin',
      kind: 'danger',
      disabled,
      named: connector.connector,
      after: () => reload(path),
      done: 'The offsets are gone: the connector begins anew when it is resumed.',
    },
  ];
}

function openOffsetsDialog(connector, answer, path) {
  const given = { text: pretty({ offsets: answer.offsets }) };
  openDialog({
    key: 'offsets',
    wide: true,
    title: `Alter the offsets of ${connector.connector}`,
    view: () => offsetsForm(connector, path, given),
  });
}

function offsetsForm(connector, path, given) {
  const body = parsedJson(given.text);
  const action = {
    id: 'offsets-alter',
    label: 'Alter',
    method: 'PATCH',
    path,
    body: body.value,
    role: 'admin',
    named: connector.connector,
    done: 'The offsets are altered.',
    after: () => reload(path),
  };
  const submit = (event) => {
    event.preventDefault();
    if (!body.error) {
      closeDialog();
      run(action);
    }
  };
  const text = h('textarea', {
    rows: '12',
    class: 'code',
    spellcheck: 'false',
    set: { value: given.text },
    on: {
      input: (event) => {
        given.text = event.target.value;
        invalidate();
      },
    },
  });
  return h(
    'form',
    { class: 'dialog-body', on: { submit } },
    h(
      'p',
      null,
      'What lies before the new offset is not read again; what lies behind it is. An offset of null removes it.',
    ),
    field('Offsets', 'offsets-text', text),
    body.error ? problem(body.error) : null,
    h(
      'details',
      null,
      h('summary', null, 'curl'),
      copyable(curl({ ...action, body: body.value ?? {} }), { language: 'shell' }),
    ),
    h(
      'div',
      { class: 'dialog-actions' },
      closeButton(),
      h('button', { type: 'submit', class: 'danger', disabled: Boolean(body.error) }, 'Alter'),
    ),
  );
}

function parsedJson(text) {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { error: `This is no JSON: ${error.message}` };
  }
}

function topicList(connector, answer) {
  const topics = answer?.[connector.connector]?.topics ?? [];
  return topics.length
    ? h(
        'ul',
        { class: 'names' },
        topics.map((topic) => h('li', { key: topic }, h('code', null, topic))),
      )
    : empty('It has used no topic since the daemon began.');
}
