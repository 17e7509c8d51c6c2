// The configuration as it holds, secrets masked: nested as in the file, flat as Kafka Connect has it, or as a file to take along.

const FORMS = [
  ['nested', 'Nested'],
  ['flat', 'Flat'],
  ['file', 'As a file'],
];

function configurationTab(connector) {
  const form = ui.configForm ?? 'nested';
  const base = `/connectors/${part(connector.connector)}`;
  const path = { nested: `${base}/config?form=nested`, flat: `${base}/config`, file: `${base}/export` }[form];
  const view = {
    nested: nestedConfig,
    flat: (config) => flatConfig(connector, config),
    file: (text) => copyable(String(text)),
  }[form];
  return panel(
    'Configuration',
    {
      wide: true,
      request: { path },
      id: 'configuration',
      actions: choice('Form', FORMS, form, (chosen) => {
        ui.configEdit = null;
        setUi('configForm', chosen);
      }),
    },
    h(
      'p',
      { class: 'muted' },
      connector.origin === 'file'
        ? 'It stands in the configuration file, where it is changed: edit the file and restart the daemon. Secrets are masked.'
        : 'It was made over HTTP and is kept in the state. Secrets are masked.',
    ),
    answered(resource(path), view),
  );
}

function nestedConfig(config) {
  const lines = yamlLines(config?.config ?? config);
  return h(
    'div',
    { class: 'copyable' },
    h(
      'pre',
      { class: 'code yaml', tabindex: '0' },
      lines.map(({ indent, name, text, kind }) => [
        '  '.repeat(indent),
        name === null ? '' : h('span', { class: 'json-name' }, name),
        text === null ? '' : h('span', { class: `json-${kind}` }, text),
        '\n',
      ]),
    ),
    copyButton(lines.map(({ indent, name, text }) => `${'  '.repeat(indent)}${name ?? ''}${text ?? ''}`).join('\n')),
  );
}

// JSON as lines of YAML: `{indent, name, text, kind}`.
function yamlLines(value, indent = 0) {
  if (Array.isArray(value)) {
    return value.flatMap((item) =>
      isScalar(item) ? [{ indent, name: '- ', ...scalar(item) }] : listItem(yamlLines(item, indent + 1), indent),
    );
  }
  return Object.entries(value ?? {}).flatMap(([name, item]) => {
    const label = `${plainText(name)}:`;
    if (isScalar(item)) {
      return [{ indent, name: `${label} `, ...scalar(item) }];
    }
    const inline = Object.keys(item).length === 0 ? (Array.isArray(item) ? ' []' : ' {}') : null;
    return [{ indent, name: label, text: inline, kind: 'word' }, ...yamlLines(item, indent + 1)];
  });
}

// The first line of an item gets the dash that stands before it.
function listItem([first, ...others], indent) {
  return first
    ? [{ ...first, indent, name: `- ${first.name ?? ''}` }, ...others]
    : [{ indent, name: '- ', text: '{}', kind: 'word' }];
}

function isScalar(value) {
  return value === null || typeof value !== 'object';
}

function scalar(value) {
  const kind = typeof value === 'string' ? 'string' : typeof value === 'number' ? 'number' : 'word';
  return { text: typeof value === 'string' ? plainText(value) : String(value), kind };
}

const PLAIN_YAML = /^[A-Za-z_./][\w./@ $()-]*$/;
const WORDS_OF_YAML = /^(true|false|null|yes|no|on|off|~)$/i;

// Quoted where YAML would read something else than the text.
function plainText(text) {
  return PLAIN_YAML.test(text) && !WORDS_OF_YAML.test(text) && text.trim() === text ? text : JSON.stringify(text);
}

// --- flat, where it may be changed

function flatConfig(connector, config) {
  const entries = Object.entries(config ?? {}).sort(([a], [b]) => a.localeCompare(b));
  const edit = ui.configEdit?.connector === connector.connector ? ui.configEdit : null;
  const words = (ui.configFilter ?? '').toLowerCase();
  const shown = entries.filter(([name, value]) => `${name} ${value}`.toLowerCase().includes(words));
  return [
    h(
      'div',
      { class: 'tail-controls' },
      h(
        'label',
        { class: 'inline-field' },
        h('span', { class: 'unseen' }, 'Only keys and values with this text'),
        h('input', {
          type: 'search',
          placeholder: 'Key or value',
          set: { value: ui.configFilter ?? '' },
          on: { input: (event) => setUi('configFilter', event.target.value) },
        }),
      ),
      edit ? null : copyButton(entries.map(([name, value]) => `${name}=${value}`).join('\n'), 'Copy as properties'),
    ),
    table(
      'Keys and values',
      [
        { title: 'Key', class: 'breaks', cell: ([name]) => h('code', null, name) },
        {
          title: 'Value',
          class: 'breaks',
          cell: ([name, value]) => (edit ? valueInput(edit, name, value) : h('code', null, value)),
        },
        ...(edit ? [{ title: 'Remove', cell: ([name]) => removal(edit, name) }] : []),
      ],
      shown,
      { rowKey: ([name]) => name },
    ),
    configEditing(connector, edit),
  ];
}

function valueInput(edit, name, value) {
  const changed = name in edit.changes;
  return [
    h('input', {
      type: 'text',
      class: changed ? 'changed' : null,
      'aria-label': `Value of ${name}`,
      disabled: edit.changes[name] === null,
      set: { value },
      spellcheck: 'false',
      on: { input: (event) => changeKey(edit, name, event.target.value === value ? undefined : event.target.value) },
    }),
    edit.errors[name] ? h('p', { class: 'problem-text' }, edit.errors[name].join(' ')) : null,
  ];
}

function removal(edit, name) {
  return h(
    'label',
    { class: 'check' },
    h('input', {
      type: 'checkbox',
      'aria-label': `Remove ${name}`,
      set: { checked: edit.changes[name] === null },
      on: { change: (event) => changeKey(edit, name, event.target.checked ? null : undefined) },
    }),
  );
}

function changeKey(edit, name, value) {
  if (value === undefined) {
    delete edit.changes[name];
  } else {
    edit.changes[name] = value;
  }
  invalidate();
}

function configEditing(connector, edit) {
  const path = `/connectors/${part(connector.connector)}/config`;
  const disabled = connector.origin === 'file' ? 'It is written in the configuration file: change it there.' : null;
  if (!edit) {
    return toolbar('Configuration', [
      {
        id: 'config-edit',
        label: 'Change …',
        role: 'admin',
        disabled,
        method: 'PATCH',
        path,
        body: { 'key.to.change': 'value', 'key.to.remove': null },
        ask: () => setUi('configEdit', { connector: connector.connector, changes: {}, errors: {} }),
      },
    ]);
  }
  const number = Object.keys(edit.changes).length;
  const save = {
    id: 'config-save',
    label: number ? `Save ${plural(number, 'change')}` : 'Save',
    role: 'admin',
    kind: 'primary',
    method: 'PATCH',
    path,
    body: edit.changes,
    disabled: number ? null : 'Nothing is changed.',
    done: 'The configuration is saved; the connector starts again with it.',
    after: () => {
      ui.configEdit = null;
      reload(path);
    },
  };
  return [
    newKey(edit),
    toolbar(
      'Configuration',
      [save],
      h('button', { type: 'button', on: { click: () => setUi('configEdit', null) } }, 'Cancel'),
    ),
  ];
}

function newKey(edit) {
  const submit = (event) => {
    event.preventDefault();
    const [name, value] = [event.target.elements[0], event.target.elements[1]];
    if (name.value.trim()) {
      changeKey(edit, name.value.trim(), value.value);
      name.value = '';
      value.value = '';
    }
  };
  const added = Object.entries(edit.changes).filter(([, value]) => value !== null);
  return [
    h(
      'form',
      { class: 'new-key', on: { submit } },
      field('Another key', 'new-key-name', h('input', { type: 'text', spellcheck: 'false', autocomplete: 'off' })),
      field('Its value', 'new-key-value', h('input', { type: 'text', spellcheck: 'false', autocomplete: 'off' })),
      h('button', { type: 'submit' }, 'Add'),
    ),
    added.length
      ? h(
          'p',
          { class: 'hint' },
          'Will be set: ',
          added.map(([name]) => h('code', { key: name }, name, ' ')),
        )
      : null,
  ];
}
