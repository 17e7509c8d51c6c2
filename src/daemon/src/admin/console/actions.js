// What a person can do: buttons that send one request, show it as curl, and ask again where something would be lost.

const NOTE_MS = 8000;
const PROBLEM_MS = 60000;

// An action: `{id, label, method, path, body, role, kind, disabled, done, after, named, ask}`. `disabled` is the reason why it cannot
// be done now; `what` is what it is done to, where that is not said
// by its label; `named` is the name to type before something is lost; `warning` is what is said before the request is sent where the
// daemon does not ask again by itself; `ask` opens a form instead of sending at once.
function whyNot(action) {
  if (state.silentSince !== null) {
    return 'The daemon does not answer.';
  }
  if (!mayDo(action.role ?? 'operate')) {
    return `This needs the role ${action.role ?? 'operate'}; yours is ${session.role ?? 'unknown'}.`;
  }
  return action.disabled ?? null;
}

// Buttons of several actions, each beside its curl command, which opens below them.
function toolbar(label, actions, extra) {
  const shown = actions.filter(Boolean);
  const open = shown.find((action) => ui.curl === action.id);
  const reasons = shown.map(whyNot);
  // Where nothing can be done, the reasons are there for all to read and not only in titles.
  const common = reasons.every(Boolean) ? [...new Set(reasons)].join(' ') : null;
  return h(
    'div',
    { class: 'toolbar', role: 'group', 'aria-label': label, key: `toolbar:${label}` },
    h('div', { class: 'toolbar-row' }, shown.map(actionButton), extra),
    common ? h('p', { class: 'hint' }, common) : null,
    open ? curlBox(open) : null,
  );
}

function actionButton(action) {
  const reason = whyNot(action);
  const busy = ui.busy === action.id;
  return h(
    'span',
    { class: 'action', key: action.id },
    h(
      'button',
      {
        type: 'button',
        class: action.kind ?? '',
        'aria-disabled': reason || busy ? 'true' : null,
        'aria-busy': busy ? 'true' : null,
        title: reason ?? action.title ?? null,
        'aria-description': reason,
        'aria-haspopup': action.ask ? 'dialog' : null,
        on: { click: () => press(action, reason, busy) },
      },
      action.label,
    ),
    curlButton(action.id, action.label),
  );
}

function press(action, reason, busy) {
  if (reason) {
    tell(reason, 'problem');
  } else if (action.ask) {
    action.ask();
  } else if (action.warning) {
    openConfirmation(action, { message: action.warning });
  } else if (!busy) {
    run(action);
  }
}

// Sends the request; true where it was done. What would lose something is asked about first.
async function run(action) {
  setUi('busy', action.id);
  try {
    const answer = await ask(action);
    finished(action, answer);
    return true;
  } catch (error) {
    if (error.status === 409 && error.code === 'confirmation_needed') {
      openConfirmation(action, error.body);
    } else {
      tell(`${action.label}: ${error.message}`, 'problem');
    }
    return false;
  } finally {
    setUi('busy', null);
  }
}

function finished(action, answer) {
  const done = typeof action.done === 'function' ? action.done(answer) : action.done;
  tell(done ?? `${action.label}: done.`, 'good');
  action.after?.(answer);
  refreshSoon();
}

// --- short notes

ui.notes = [];
let lastNote = 0;

function tell(text, kind) {
  lastNote += 1;
  const id = lastNote;
  announce(text);
  setUi('notes', [...ui.notes.filter((other) => other.text !== text), { id, text, kind }].slice(-4));
  setTimeout(() => dismiss(id), kind === 'problem' ? PROBLEM_MS : NOTE_MS);
}

function dismiss(id) {
  setUi(
    'notes',
    ui.notes.filter((other) => other.id !== id),
  );
}

function notes() {
  return h(
    'div',
    { class: 'notes', key: 'notes' },
    ui.notes.map(({ id, text, kind }) =>
      h(
        'div',
        { class: `toast ${kind}`, key: id },
        h('p', null, text),
        h('button', { type: 'button', class: 'quiet', 'aria-label': 'Dismiss', on: { click: () => dismiss(id) } }, '×'),
      ),
    ),
  );
}

// --- dialogs

// One dialog at a time: `{title, view, key}`.
ui.dialog = null;

function openDialog(dialog) {
  setUi('dialog', dialog);
}

function closeDialog() {
  setUi('dialog', null);
}

function dialogElement() {
  const { dialog } = ui;
  if (!dialog) {
    return null;
  }
  return h(
    'dialog',
    {
      key: `dialog:${dialog.key}`,
      'aria-labelledby': 'dialog-title',
      class: dialog.wide ? 'wide' : null,
      mounted: openModal,
      removed: (element) => element.close(),
      on: {
        cancel: (event) => {
          event.preventDefault();
          closeDialog();
        },
      },
    },
    h(
      'header',
      { class: 'dialog-header' },
      h('h2', { id: 'dialog-title' }, dialog.title),
      h('button', { type: 'button', class: 'quiet', 'aria-label': 'Close', on: { click: closeDialog } }, '×'),
    ),
    dialog.view(),
  );
}

// The focus goes to the first field, or to the button that changes nothing.
function openModal(element) {
  element.showModal();
  element
    .querySelector('.dialog-body input, .dialog-body textarea, .dialog-body select, .dialog-actions button')
    .focus();
}

function closeButton(label = 'Cancel') {
  return h('button', { type: 'button', on: { click: closeDialog } }, label);
}

// --- what would lose something

// `body` is the daemon's answer to the first step, with a token for the second; without a token the request itself is the second.
function openConfirmation(action, body) {
  const expiresAt = body.confirm ? Date.now() + body.expires_in_ms : Infinity;
  const given = { action, body, expiresAt, typed: '' };
  openDialog({
    key: `confirm-${action.id}-${body.confirm}`,
    title: `${action.label} ${action.what ?? action.named ?? ''}`.trim() + '?',
    view: () => confirmation(given),
  });
  if (body.confirm) {
    // The dialog says when the token is no longer taken.
    setTimeout(invalidate, body.expires_in_ms + 50);
  }
}

function confirmation(given) {
  const { action, body, expiresAt } = given;
  const expired = Date.now() >= expiresAt;
  const missing = action.named && given.typed !== action.named;
  const confirmed = body.confirm ? { ...action, path: withConfirmation(action.path, body.confirm) } : action;
  const submit = (event) => {
    event.preventDefault();
    if (expired || !missing) {
      closeDialog();
      run(expired ? action : confirmed);
    }
  };
  return h(
    'form',
    { class: 'dialog-body', on: { submit } },
    body.will_lose?.length
      ? [
          h('p', null, 'This cannot be undone.'),
          h('h3', null, 'This will be lost'),
          h(
            'ul',
            { class: 'losses' },
            body.will_lose.map((loss) => h('li', null, loss)),
          ),
        ]
      : h('p', null, body.message),
    action.named && !expired ? typedName(given) : null,
    expired
      ? note(
          'The daemon takes this confirmation no longer. Ask again: what would be lost may be something else by now.',
        )
      : null,
    h('details', null, h('summary', null, 'curl'), copyable(curl(confirmed), { language: 'shell' })),
    h(
      'div',
      { class: 'dialog-actions' },
      closeButton(),
      h(
        'button',
        { type: 'submit', class: 'danger', disabled: !expired && missing },
        expired ? 'Ask again' : action.label,
      ),
    ),
  );
}

function typedName(given) {
  const input = h('input', {
    type: 'text',
    autocomplete: 'off',
    spellcheck: 'false',
    on: {
      input: (event) => {
        given.typed = event.target.value;
        invalidate();
      },
    },
  });
  return field(`Type ${given.action.named} to go on`, 'confirm-name', input);
}
