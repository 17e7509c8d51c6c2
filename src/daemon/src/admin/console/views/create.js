// A new connector from a pasted configuration, checked key by key before it is made.

const EXAMPLE = `{
  "source": {
    "type": "postgres",
    "url": "\${ORDERS_DATABASE_URL}",
    "tables": ["public.orders"]
  },
  "stream": "events"
}`;

function createView() {
  const given = (ui.create ??= { name: '', plugin: '', text: '', state: 'RUNNING', checked: null });
  const config = readConfig(given.text);
  const plugins = resource('/connector-plugins');
  const plugin = given.plugin || pluginOf(config.value, plugins.value);
  return [
    pageHeading('Create a connector'),
    h(
      'div',
      { class: 'columns two' },
      panel('Configuration', { id: 'create' }, createForm(given, config, plugin, plugins)),
      panel('What the check says', { id: 'create-check' }, checkResult(given, config)),
    ),
  ];
}

// JSON, nested or flat; or lines of `key=value`.
function readConfig(text) {
  const trimmed = text.trim();
  if (trimmed === '') {
    return { error: 'Paste a configuration first.' };
  }
  const read = trimmed.startsWith('{') ? parsedJson(trimmed) : readProperties(trimmed);
  const value = read.value?.config && read.value?.name ? read.value.config : read.value;
  return read.error ? read : { value, name: read.value?.name };
}

function readProperties(text) {
  const value = {};
  for (const line of text
    .split('\n')
    .map((raw) => raw.trim())
    .filter((raw) => raw && !raw.startsWith('#'))) {
    const at = line.search(/[=:]/);
    if (at < 1) {
      return { error: `This line is no key=value: ${brief(line, 60)}` };
    }
    value[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return { value };
}

// The plugin that a configuration means, as far as it says so.
function pluginOf(config, plugins) {
  const names = (plugins ?? []).map((plugin) => plugin.class);
  const said = config?.['connector.class'] ?? '';
  const kind = config?.sink || config?.['sink.type'] ? 'sink' : 'source';
  const type = config?.[kind]?.type ?? config?.[`${kind}.type`] ?? '';
  return (
    names.find((name) => name === said) ??
    (plugins ?? []).find((plugin) => type && plugin.type === kind && plugin.class.toLowerCase().includes(type))
      ?.class ??
    names[0] ??
    ''
  );
}

function createForm(given, config, plugin, plugins) {
  const change = (name) => (event) => {
    given[name] = event.target.value;
    given.checked = name === 'state' ? given.checked : null;
    invalidate();
  };
  const name = given.name || config.name || config.value?.name || '';
  return h(
    'form',
    {
      class: 'stacked',
      on: {
        submit: (event) => {
          event.preventDefault();
          checkConfig(given, config, plugin, name);
        },
      },
    },
    field(
      'Name',
      'create-name',
      h('input', {
        type: 'text',
        autocomplete: 'off',
        spellcheck: 'false',
        placeholder: config.name ?? 'orders',
        set: { value: given.name },
        on: { input: change('name') },
      }),
      'Letters, digits, dots, dashes and underscores; it stands in metrics, logs and headers.',
    ),
    field(
      'Type',
      'create-plugin',
      h(
        'select',
        { set: { value: plugin }, on: { change: change('plugin') } },
        (plugins.value ?? []).map((each) =>
          h('option', { value: each.class, key: `${each.class}:${each.type}` }, `${each.class} (${each.type})`),
        ),
      ),
      plugins.error ? plugins.error.message : 'Chosen by what the configuration says, where it says so.',
    ),
    field(
      'Configuration',
      'create-text',
      h('textarea', {
        rows: '18',
        class: 'code',
        spellcheck: 'false',
        placeholder: EXAMPLE,
        set: { value: given.text },
        on: { input: change('text') },
      }),
      'Nested JSON as in the file, flat JSON as for Kafka Connect, or lines of key=value. Name secrets as ${NAME} or ${file:/path}.',
    ),
    field(
      'Begin',
      'create-state',
      h(
        'select',
        { set: { value: given.state }, on: { change: change('state') } },
        h('option', { value: 'RUNNING' }, 'running'),
        h('option', { value: 'PAUSED' }, 'paused'),
        h('option', { value: 'STOPPED' }, 'stopped'),
      ),
    ),
    given.text.trim() && config.error ? problem(config.error) : null,
    toolbar('Create', createActions(given, config, plugin, name)),
  );
}

function createActions(given, config, plugin, name) {
  const missing = config.error ?? (name ? null : 'Give it a name first.');
  const checkRequest = {
    id: 'create-validate',
    label: 'Check',
    role: 'read',
    method: 'PUT',
    path: `/connector-plugins/${part(plugin || 'TYPE')}/config/validate`,
    body: withName(config.value, name),
    disabled: config.error ?? null,
  };
  return [
    { ...checkRequest, ask: () => checkConfig(given, config, plugin, name) },
    {
      id: 'create',
      label: 'Create',
      role: 'admin',
      kind: 'primary',
      method: 'POST',
      path: '/connectors',
      body: { name, config: config.value ?? {}, initial_state: given.state },
      disabled: missing,
      done: `${name} is created.`,
      after: () => {
        ui.create = null;
        location.hash = connectorLink(name);
      },
    },
  ];
}

function withName(config, name) {
  return { ...(name ? { name } : {}), ...(config ?? {}) };
}

async function checkConfig(given, config, plugin, name) {
  if (config.error) {
    tell(config.error, 'problem');
    return;
  }
  const request = {
    method: 'PUT',
    path: `/connector-plugins/${part(plugin || 'TYPE')}/config/validate`,
    body: withName(config.value, name),
  };
  try {
    given.checked = { answer: await ask(request) };
    const errors = given.checked.answer.error_count ?? 0;
    announce(errors ? `${plural(errors, 'error')} found.` : 'No errors found.');
  } catch (error) {
    given.checked = { error };
  }
  invalidate();
}

function checkResult(given, config) {
  if (!given.checked) {
    return empty(
      'Not checked yet.',
      config.error && given.text.trim()
        ? config.error
        : 'Check reads every key and says what is wrong with it. Nothing is made by it.',
    );
  }
  if (given.checked.error) {
    return refusalNote(given.checked.error);
  }
  const { configs = [], error_count } = given.checked.answer;
  const wrong = configs.filter((entry) => entry.value?.errors?.length);
  if (!error_count && wrong.length === 0) {
    return [
      h('p', { class: 'big good-text' }, 'No errors'),
      h(
        'p',
        { class: 'muted' },
        `${plural(configs.length, 'key')} looked at. Whether the database can be captured the preflight says, once the connector is there.`,
      ),
    ];
  }
  return [
    h('p', { class: 'big problem-text' }, plural(error_count ?? wrong.length, 'error')),
    h(
      'dl',
      { class: 'key-errors' },
      wrong.map((entry) =>
        h(
          'div',
          { key: entry.value.name },
          h(
            'dt',
            null,
            h('code', null, entry.value.name),
            entry.value.value === null || entry.value.value === undefined
              ? null
              : h('span', { class: 'muted breaks' }, ' is ', brief(entry.value.value, 80)),
          ),
          entry.value.errors.map((text) => h('dd', null, text)),
          entry.definition?.documentation ? h('dd', { class: 'muted' }, entry.definition.documentation) : null,
        ),
      ),
    ),
  ];
}
