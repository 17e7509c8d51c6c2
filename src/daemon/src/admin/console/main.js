// The frame of the page: the address decides what is shown, and every change of what is known shows it anew.

const THEMES = ['system', 'light', 'dark'];
const THEME_KEY = 'tailrace.theme';

// `#/connectors/orders/tail?x=y` as `{path: ['connectors', 'orders', 'tail'], query}`.
function currentRoute() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return { path: path.split('/').filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    // Not written by this page: shown as it is.
    return text;
  }
}

function viewOf(route) {
  const [first = '', second] = route.path;
  if (first === 'connectors' && second) {
    return [connectorView, second];
  }
  return (
    {
      '': [connectorsView, 'Connectors'],
      connectors: [connectorsView, 'Connectors'],
      create: [createView, 'Create a connector'],
      journal: [journalView, 'Journal'],
      loggers: [loggersView, 'Loggers'],
    }[first] ?? [unknownView, 'Nothing here']
  );
}

function unknownView() {
  return [
    pageHeading('Nothing here'),
    empty('The console has no such view.', h('a', { href: '#/' }, 'Show the connectors')),
  ];
}

// --- the page

function renderPage() {
  const route = currentRoute();
  const [view, title] = viewOf(route);
  forgetUnused(() => show(document.getElementById('console'), page(route, view)));
  document.title = pageTitle(title);
  stopTailElsewhere(route);
}

function page(route, view) {
  return [
    h('a', { class: 'skip', href: '#main', on: { click: skip } }, 'Skip to the content'),
    header(route),
    banner(),
    h(
      'main',
      {
        id: 'main',
        tabindex: '-1',
        class: state.silentSince === null ? null : 'stale',
        'data-view': route.path.join('/'),
      },
      content(route, view),
    ),
    footer(),
    notes(),
    dialogElement(),
  ];
}

function content(route, view) {
  if (session.wanted) {
    return signIn();
  }
  if (!state.status) {
    return state.error && !state.error.isUnanswered
      ? refusalNote(state.error, () => schedulePoll(0))
      : h('p', { class: 'waiting muted' }, 'Asking the daemon …');
  }
  return h('div', { key: `view:${route.path.slice(0, 2).join('/')}` }, view(route));
}

// How many connectors need a person stands before the title, where a tab shows it.
function pageTitle(title) {
  const halted = connectors().filter((connector) => connector.state === 'halted').length;
  const start = state.silentSince === null ? (halted ? `${halted} halted · ` : '') : 'no answer · ';
  return `${start}${title} · Tailrace`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById('main').focus();
}

function header(route) {
  const [first = ''] = route.path;
  const link = (href, label, current) => h('a', { href, 'aria-current': current ? 'page' : null }, label);
  return h(
    'header',
    { class: 'top' },
    h('a', { class: 'brand', href: '#/', 'aria-label': 'Tailrace, connectors' }, mark(), h('span', null, 'Tailrace')),
    h(
      'nav',
      { class: 'main-nav', 'aria-label': 'Console' },
      link('#/', 'Connectors', first === '' || first === 'connectors'),
      link('#/create', 'Create', first === 'create'),
      link('#/journal', 'Journal', first === 'journal'),
      link('#/loggers', 'Loggers', first === 'loggers'),
    ),
    h('div', { class: 'top-end' }, whoAmI(), themeSwitch()),
  );
}

// Water that leaves the mill.
function mark() {
  return h(
    'svg',
    { class: 'mark', viewBox: '0 0 32 32', 'aria-hidden': 'true', focusable: 'false' },
    h('path', { class: 'mark-wall', d: 'M8 5v22' }),
    [11, 17, 23].map((y) => h('path', { class: 'mark-water', key: y, d: `M12 ${y}c3-3 5 3 8 0s4-1 5 0` })),
  );
}

function whoAmI() {
  if (!session.role) {
    return null;
  }
  const words = session.authentication === 'none' ? session.role : `${session.name} · ${session.role}`;
  const leave = session.token
    ? h('button', { type: 'button', class: 'quiet on-top', on: { click: () => wantToken('') } }, 'Forget the token')
    : null;
  return h(
    'span',
    {
      class: 'who',
      title:
        session.authentication === 'none'
          ? 'No token is asked for on this machine itself'
          : `Signed in by ${session.authentication}`,
    },
    words,
    leave,
  );
}

function themeSwitch() {
  const theme = ui.theme ?? 'system';
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  return h(
    'button',
    {
      type: 'button',
      class: 'quiet on-top theme',
      title: `Colours: ${theme}`,
      'aria-label': `Colours: ${theme}. Change to ${next}`,
      on: { click: () => setTheme(next) },
    },
    icon(...ICONS[theme]),
  );
}

function setTheme(theme) {
  writeStored(localStorage, THEME_KEY, theme === 'system' ? null : theme);
  applyTheme(theme);
}

function applyTheme(theme) {
  ui.theme = THEMES.includes(theme) ? theme : 'system';
  document.documentElement.dataset.theme = ui.theme;
  redrawCharts();
}

// Charts take their colours when they are made.
function redrawCharts() {
  setUi('themeVersion', (ui.themeVersion ?? 0) + 1);
}

function banner() {
  if (state.silentSince === null || session.wanted) {
    return null;
  }
  const left = Math.max(0, Math.ceil((state.retryAt - Date.now()) / SECOND_MS));
  return h(
    'div',
    { class: 'banner', role: 'alert', key: 'banner' },
    h(
      'p',
      null,
      h('b', null, 'The daemon does not answer'),
      ` since ${clock(new Date(state.silentSince))}. `,
      state.status ? 'What is shown is from before. ' : '',
      h('span', { 'aria-hidden': 'true' }, left ? `Trying again in ${left} s.` : 'Trying again …'),
    ),
    h('button', { type: 'button', on: { click: () => schedulePoll(0) } }, 'Try now'),
  );
}

function footer() {
  const { status } = state;
  return h(
    'footer',
    { class: 'bottom' },
    status ? `Tailrace ${status.version}, up for ${duration(status.uptime_ms)}` : 'Tailrace',
    status && session.authentication === 'none' ? plainLinks() : null,
  );
}

// A link cannot send a token, so these are only there where none is asked for.
function plainLinks() {
  const links = [
    ['/status', 'status'],
    ['/metrics', 'metrics'],
    ['/openapi.json', 'API'],
  ];
  return links.map(([href, text]) => [' · ', h('a', { href }, text)]);
}

// --- signing in

function signIn() {
  const submit = (event) => {
    event.preventDefault();
    const { token, remember: keep } = event.target.elements;
    enter(token.value.trim(), keep.checked);
  };
  // Made anew after a token was not taken: the field is empty again.
  return h(
    'form',
    { class: 'sign-in panel', on: { submit }, key: `sign-in:${session.attempts}` },
    h('h1', { id: 'heading' }, 'A token is needed'),
    h(
      'p',
      null,
      'This daemon shows itself only to those who have one of its tokens. It is kept in the memory of this page.',
    ),
    session.refused ? problem(session.refused) : null,
    field(
      'Token',
      'token',
      h('input', {
        type: 'password',
        name: 'token',
        required: true,
        autocomplete: 'off',
        spellcheck: 'false',
        mounted: (element) => element.focus(),
      }),
    ),
    h(
      'label',
      { class: 'check' },
      h('input', { type: 'checkbox', name: 'remember' }),
      h('span', null, 'Remember it in this tab until it is closed'),
    ),
    h(
      'button',
      { type: 'submit', class: 'primary', 'aria-disabled': ui.entering ? 'true' : null },
      ui.entering ? 'Asking …' : 'Enter',
    ),
  );
}

async function enter(token, keep) {
  setUi('entering', true);
  session.token = token;
  try {
    await greet();
    writeStored(sessionStorage, TOKEN_KEY, keep ? token : null);
    schedulePoll(0);
  } catch (error) {
    if (error.status !== 401) {
      wantToken(error.message);
    }
  } finally {
    setUi('entering', false);
  }
}

// --- the beginning

let shownPath = currentRoute().path.join('/');

window.addEventListener('hashchange', () => {
  const path = currentRoute().path.join('/');
  Object.assign(ui, { curl: null, dialog: null, configEdit: null });
  renderPage();
  // A step to another view moves the focus there, so that it is read; a filter does not.
  if (path !== shownPath) {
    shownPath = path;
    document.getElementById('heading')?.focus({ preventScroll: true });
    document.querySelector('.tabs [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
    window.scrollTo(0, 0);
  }
});

// The tail runs only while somebody looks.
function stopTailElsewhere(route) {
  const [first, name, tab] = route.path;
  if (tail.controller && !(first === 'connectors' && name === tail.connector && tab === 'tail')) {
    stopTail();
  }
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redrawCharts);
applyTheme(readStored(localStorage, THEME_KEY));
// Countdown and relative times go on while nobody answers.
setInterval(() => state.silentSince !== null && invalidate(), SECOND_MS);
poll();
