// Dead letters: events that could not be carried, each with its reason, to be sent again or given up.

function lettersTab(connector, route) {
  const id = route.path[3];
  return id ? letterView(connector, id) : letterList(connector);
}

function lettersPath(connector) {
  return `/connectors/${part(connector.connector)}/dead_letters`;
}

// --- the list

function letterList(connector) {
  const after = ui.lettersAfter ?? 0;
  const path = `${lettersPath(connector)}?after=${after}&all=${Boolean(ui.lettersAll)}`;
  const all = h(
    'label',
    { class: 'check' },
    h('input', {
      type: 'checkbox',
      set: { checked: Boolean(ui.lettersAll) },
      on: {
        change: (event) => {
          ui.lettersAfter = 0;
          setUi('lettersAll', event.target.checked);
        },
      },
    }),
    h('span', null, 'Also those that were replayed or dropped'),
  );
  return panel(
    'Dead letters',
    { wide: true, request: { path }, id: 'letters' },
    answered(resource(path, 5 * SECOND_MS), (listing) => [
      h('p', { class: 'muted' }, policyWords(listing)),
      h('div', { class: 'tail-controls' }, all),
      listing.letters.some((letter) => letter.state === 'waiting') ? replayAll(connector, listing.letters) : null,
      listing.letters.length
        ? letterTable(connector, listing.letters)
        : empty(after ? 'There are no more.' : 'No dead letters.', noLetters(listing)),
      pageOfLetters(listing.letters, after),
    ]),
  );
}

function policyWords({ policy, order, waiting, oldest }) {
  const words = {
    halt: 'An event that cannot be carried halts the connector.',
    store: 'An event that cannot be carried is kept here, and the others go on.',
    topic: 'An event that cannot be carried is kept here, a copy is published, and the others go on.',
  }[policy];
  const behind = order === 'key' ? ' Later events of the same key wait behind it.' : '';
  return [
    words,
    behind,
    waiting ? [` ${plural(waiting, 'letter')} waiting, the oldest since `, whenText(oldest), '.'] : null,
  ];
}

function noLetters({ policy }) {
  return policy === 'halt'
    ? 'With dead_letters: { policy: store } events that cannot be carried are set aside instead.'
    : 'Every event was carried.';
}

function letterTable(connector, letters) {
  return table(
    'Dead letters',
    [
      {
        title: 'Letter',
        number: true,
        cell: (letter) =>
          h('a', { href: `${connectorLink(connector.connector, 'letters')}/${letter.id}` }, `#${letter.id}`),
      },
      { title: 'State', cell: letterState },
      { title: 'Table', class: 'breaks', cell: (letter) => [letter.table, ' ', opBadge(letter.op)] },
      { title: 'Key', class: 'breaks', cell: (letter) => h('code', null, brief(letter.key ?? null, 60)) },
      { title: 'Reason', cell: (letter) => [h('code', null, letter.code), ' ', letter.reason] },
      { title: 'Attempts', number: true, cell: (letter) => count(letter.attempts) },
      { title: 'Set aside', cell: (letter) => whenText(letter.quarantined_at) },
    ],
    letters,
    { rowKey: (letter) => letter.id },
  );
}

function letterState(letter) {
  return badge(
    (letter.state ?? '').replace('_', ' '),
    { waiting: 'warning', replayed: 'good', dropped: '' }[letter.state] ?? '',
  );
}

// The daemon answers so many at a time.
const LETTERS_A_PAGE = 1000;

function pageOfLetters(letters, after) {
  if (after === 0 && letters.length < LETTERS_A_PAGE) {
    return null;
  }
  return h(
    'div',
    { class: 'button-row' },
    h(
      'button',
      { type: 'button', disabled: after === 0, on: { click: () => setUi('lettersAfter', 0) } },
      'From the first',
    ),
    h(
      'button',
      {
        type: 'button',
        disabled: letters.length < LETTERS_A_PAGE,
        on: { click: () => setUi('lettersAfter', letters.at(-1).id) },
      },
      'Next',
    ),
  );
}

// --- all of them

// One request after the other, in their order, and no further than the first that is refused.
function replayAll(connector, letters) {
  const ids = letters.filter((letter) => letter.state === 'waiting').map((letter) => letter.id);
  const action = { id: 'replay-all', label: `Replay all ${count(ids.length)}` };
  const reason = whyNot(action);
  const path = lettersPath(connector);
  return h(
    'div',
    { class: 'toolbar', key: 'replay-all' },
    h(
      'div',
      { class: 'toolbar-row' },
      h(
        'span',
        { class: 'action' },
        h(
          'button',
          {
            type: 'button',
            'aria-disabled': reason || ui.replaying ? 'true' : null,
            title: reason,
            'aria-description': reason,
            on: { click: () => (reason ? tell(reason, 'problem') : replayEach(path, ids)) },
          },
          ui.replaying ?? action.label,
        ),
        curlButton(action.id, action.label),
      ),
    ),
    ui.curl === action.id
      ? h('div', { class: 'curl-box' }, copyable(replayLoop(path, ids), { language: 'shell' }))
      : null,
  );
}

function replayLoop(path, ids) {
  const command = curl({ method: 'POST', path: `${path}/ID/replay` }).replace("ID/replay'", "'\"$id\"'/replay'");
  return `for id in ${ids.join(' ')}; do\n  ${command.replace('curl', 'curl --fail-with-body').replaceAll('\n', '\n  ')} || break\ndone`;
}

async function replayEach(path, ids) {
  if (ui.replaying) {
    return;
  }
  let done = 0;
  try {
    for (const id of ids) {
      setUi('replaying', `Replaying ${count(done + 1)} of ${count(ids.length)} …`);
      const letter = await ask({ method: 'POST', path: `${path}/${id}/replay` });
      if (letter?.state === 'waiting') {
        throw new Refusal(0, null, `letter ${id} was refused again: ${letter.reason}`);
      }
      done += 1;
    }
    tell(`${plural(done, 'letter')} sent again.`, 'good');
  } catch (error) {
    tell(`${plural(done, 'letter')} sent again; then ${error.message}`, 'problem');
  } finally {
    setUi('replaying', null);
    refreshSoon();
  }
}

// --- one

function letterView(connector, id) {
  const path = `${lettersPath(connector)}/${part(id)}`;
  return panel(
    `Dead letter ${id}`,
    { wide: true, request: { path }, id: 'letter' },
    h('p', null, h('a', { href: connectorLink(connector.connector, 'letters') }, 'All dead letters')),
    answered(resource(path, 5 * SECOND_MS), (letter) => [
      h('div', { class: 'callout state-degraded' }, h('p', null, h('code', null, letter.code), ' ', letter.reason)),
      toolbar('Dead letter', letterActions(connector, letter, path)),
      facts([
        ['State', letterState(letter)],
        ['Table', [letter.table, ' ', opBadge(letter.op)]],
        ['Key', h('code', { class: 'breaks' }, brief(letter.key ?? null, 400))],
        ['Updated at', whenText(letter.updated_at)],
        ['Set aside', whenText(letter.quarantined_at)],
        ['Attempts', count(letter.attempts)],
        ['Event', h('code', { class: 'breaks' }, letter.event_id)],
        ['Position', h('code', { class: 'breaks' }, letter.position)],
      ]),
      letter.before || letter.after
        ? [h('h3', null, 'The row'), rowChange(letter.before ?? null, letter.after ?? null)]
        : null,
      letter.record ? [h('h3', null, 'The record'), json(letter.record)] : null,
    ]),
  );
}

function letterActions(connector, letter, path) {
  const open = letter.state === 'waiting' ? null : `It was ${(letter.state ?? '').replace('_', ' ')} already.`;
  return [
    {
      id: 'replay',
      label: 'Replay',
      method: 'POST',
      path: `${path}/replay`,
      kind: 'primary',
      disabled: open,
      after: () => reload(path),
      done: (answer) =>
        ({ replayed: 'It is in the stream now.', waiting: `It was refused again: ${answer?.reason}` })[answer?.state] ??
        'It is asked for; the connector sends it as soon as it can.',
    },
    {
      id: 'drop',
      label: 'Drop',
      what: `dead letter ${letter.id}`,
      method: 'DELETE',
      path,
      role: 'admin',
      kind: 'danger',
      disabled: open,
      after: () => reload(path),
      done: 'It is dropped: its event will be nowhere.',
    },
  ];
}
