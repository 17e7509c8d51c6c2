// What the page knows: the newest /status, the history of each connector, and answers that views ask for again and again.

const POLL_MS = 2000;
const POLL_HIDDEN_MS = 15000;
const SLOWEST_RETRY_MS = 15000;
const SAMPLE_MS = 5000;
const HISTORY_MS = 60 * 60 * 1000;
// Enough that the first page fills quickly, and few enough that a hundred connectors do not crowd out everything else.
const HISTORIES_AT_ONCE = 4;
// Rates over less than this jump about.
const RATE_WINDOW_MS = 10000;

const state = {
  // The newest answer of /status; nothing before the first.
  status: null,
  // Why the last attempt failed.
  error: null,
  // Since when nobody answers, and when it is tried again; milliseconds.
  silentSince: null,
  retryAt: null,
  failures: 0,
};

// What a person did to the page, by name: what is open, typed, chosen.
const ui = {};

let renderPending = false;

// Something changed: the page is shown anew, once for all changes of the moment.
function invalidate() {
  if (!renderPending) {
    renderPending = true;
    setTimeout(() => {
      renderPending = false;
      renderPage();
    }, 0);
  }
}

function setUi(name, value) {
  ui[name] = value;
  invalidate();
}

// Says something to those who do not see the page change.
function announce(text) {
  const place = document.getElementById('announcements');
  if (announced.length === 0) {
    place.textContent = '';
    setTimeout(() => {
      place.textContent = announced.splice(0).join(' ');
    }, 50);
  }
  announced.push(text);
}

// What is to be said in the next moment.
const announced = [];

// --- /status

let pollTimer = null;
let polling = false;

function schedulePoll(delay) {
  clearTimeout(pollTimer);
  pollTimer = setTimeout(poll, delay);
}

async function poll() {
  if (polling || session.wanted) {
    return;
  }
  polling = true;
  try {
    if (session.role === null) {
      await greet();
    }
    take(await ask({ path: '/status' }));
    schedulePoll(document.hidden ? POLL_HIDDEN_MS : POLL_MS);
  } catch (error) {
    failed(error);
  } finally {
    polling = false;
    invalidate();
  }
}

function take(status) {
  if (state.silentSince !== null) {
    announce('The daemon answers again.');
  }
  const before = state.status;
  Object.assign(state, { status, error: null, silentSince: null, retryAt: null, failures: 0 });
  const restarted = before && status.uptime_ms < before.uptime_ms;
  for (const connector of status.connectors) {
    remember(connector, restarted);
  }
  if (before) {
    announceChanges(before, status);
  }
}

function failed(error) {
  state.error = error;
  if (session.wanted) {
    return;
  }
  state.failures += 1;
  if (error.isUnanswered && state.silentSince === null) {
    state.silentSince = Date.now();
    announce('The daemon does not answer.');
  }
  const delay = Math.min(POLL_MS * 2 ** (state.failures - 1), SLOWEST_RETRY_MS);
  state.retryAt = Date.now() + delay;
  schedulePoll(delay);
}

function announceChanges(before, after) {
  const states = new Map(before.connectors.map((connector) => [connector.connector, stateText(connector)]));
  const changed = after.connectors.filter((connector) => states.get(connector.connector) !== stateText(connector));
  if (changed.length) {
    announce(changed.map((connector) => `${connector.connector} is ${stateText(connector)}.`).join(' '));
  }
}

function stateText(connector) {
  return connector.code ? `${connector.state}: ${connector.code}` : connector.state;
}

function connectors() {
  return state.status?.connectors ?? [];
}

function connectorNamed(name) {
  return connectors().find((connector) => connector.connector === name);
}

// After an action its outcome is looked for at once.
function refreshSoon() {
  schedulePoll(100);
  for (const entry of resources.values()) {
    entry.dueAt = 0;
  }
  invalidate();
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden) {
    schedulePoll(0);
  }
});

// --- history

// By connector: `samples` of an hour, `recent` of seconds for rates, whether the daemon's own history was asked for.
const histories = new Map();
let historiesUnderWay = 0;

function historyEntry(name) {
  if (!histories.has(name)) {
    histories.set(name, { samples: [], recent: [], asked: false });
  }
  return histories.get(name);
}

// Totals of a moment: of /status, or one of the daemon's own samples.
function sampleOf(connector, atMs) {
  const { changes, records, bytes: size, lag_bytes, lag_ms, lag_events, retention, filtered } = connector;
  return {
    atMs,
    changes,
    records,
    filtered,
    bytes: size,
    lag_bytes: lag_bytes ?? null,
    lag_ms: lag_ms ?? null,
    lag_events: lag_events ?? null,
    retained_bytes: retention?.retained_bytes ?? connector.retained_bytes ?? null,
  };
}

function remember(connector, restarted) {
  const entry = historyEntry(connector.connector);
  if (restarted) {
    Object.assign(entry, { recent: [], asked: false });
  }
  const now = Date.now();
  const sample = sampleOf(connector, now);
  entry.recent = [...entry.recent.filter((old) => old.atMs > now - RATE_WINDOW_MS * 2), sample];
  const last = entry.samples.at(-1);
  if (!last || now - last.atMs >= SAMPLE_MS - 500) {
    entry.samples.push(sample);
  }
  entry.samples = entry.samples.filter((old) => old.atMs > now - HISTORY_MS);
}

// Samples of the last hour, oldest first. The daemon's own are fetched when somebody first looks.
function historyOf(name) {
  const entry = historyEntry(name);
  if (!entry.asked && historiesUnderWay < HISTORIES_AT_ONCE && state.silentSince === null) {
    fetchHistory(name, entry);
  }
  return entry.samples;
}

async function fetchHistory(name, entry) {
  entry.asked = true;
  historiesUnderWay += 1;
  try {
    const answer = await ask({ path: `/connectors/${part(name)}/history` });
    const own = answer.samples.map((sample) => sampleOf(sample, sample.at_us / 1000));
    const newest = own.at(-1)?.atMs ?? 0;
    entry.samples = [...own, ...entry.samples.filter((sample) => sample.atMs > newest)];
  } catch {
    // What was seen since the page was opened is shown then.
  } finally {
    historiesUnderWay -= 1;
    invalidate();
  }
}

// How much a total grew by per second lately; nothing where there are no two samples, or the count began anew.
function rateOf(name, field) {
  const recent = historyEntry(name).recent;
  const last = recent.at(-1);
  const first = recent.find((sample) => sample.atMs >= (last?.atMs ?? 0) - RATE_WINDOW_MS);
  if (!last || !first || last === first || !isNumber(last[field]) || last[field] < first[field]) {
    return null;
  }
  return ((last[field] - first[field]) * 1000) / (last.atMs - first.atMs);
}

// The same between each two samples of a history.
function ratesOf(samples, field) {
  return samples.map((sample, index) => {
    const before = samples[index - 1];
    const grown = before ? sample[field] - before[field] : NaN;
    return grown >= 0 && sample.atMs > before.atMs ? (grown * 1000) / (sample.atMs - before.atMs) : null;
  });
}

// --- answers that views show

const resources = new Map();

// The newest answer to a GET, asked for again every so often as long as a view shows it.
function resource(path, everyMs = 0) {
  let entry = resources.get(path);
  if (!entry) {
    entry = { path, value: undefined, error: null, loading: false, dueAt: 0, everyMs };
    resources.set(path, entry);
  }
  entry.used = true;
  entry.everyMs = everyMs;
  if (!entry.loading && Date.now() >= entry.dueAt && !session.wanted && state.silentSince === null) {
    load(entry);
  }
  return entry;
}

async function load(entry) {
  entry.loading = true;
  try {
    entry.value = await ask({ path: entry.path });
    entry.error = null;
  } catch (error) {
    entry.error = error;
  } finally {
    entry.loading = false;
    entry.dueAt = entry.everyMs ? Date.now() + entry.everyMs : entry.error ? Date.now() + SLOWEST_RETRY_MS : Infinity;
    invalidate();
  }
}

function reload(path) {
  const entry = resources.get(path);
  if (entry) {
    entry.dueAt = 0;
    invalidate();
  }
}

// Called around each rendering: what no view asked for is not kept.
function forgetUnused(render) {
  resources.forEach((entry) => {
    entry.used = false;
  });
  render();
  resources.forEach((entry, path) => {
    if (!entry.used) {
      resources.delete(path);
    }
  });
}
