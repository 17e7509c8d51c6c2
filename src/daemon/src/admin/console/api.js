// Requests to the daemon: one function for answers in JSON, one for streams of events, and the same requests as curl commands.

const REQUEST_TIMEOUT_MS = 20000;
const TOKEN_KEY = 'tailrace.token';

// Who asks. The token is kept in memory, and in this tab's storage where the person wants that.
const session = {
  token: readStored(sessionStorage, TOKEN_KEY),
  // A token is asked for.
  wanted: false,
  // Why the last one was not taken.
  refused: '',
  // How often one was asked for.
  attempts: 0,
  name: '',
  role: null,
  authentication: 'none',
};

const ROLES = ['read', 'operate', 'admin'];

function readStored(storage, key) {
  try {
    return storage.getItem(key);
  } catch {
    // The browser forbids storage: nothing is remembered then.
    return null;
  }
}

function writeStored(storage, key, value) {
  try {
    if (value === null) {
      storage.removeItem(key);
    } else {
      storage.setItem(key, value);
    }
  } catch {
    // As above.
  }
}

function mayDo(role) {
  return ROLES.indexOf(session.role) >= ROLES.indexOf(role);
}

// An answer that is no success, or none at all (`status` 0).
class Refusal extends Error {
  constructor(status, body, fallback) {
    super(body?.message || fallback);
    this.status = status;
    this.code = body?.code ?? '';
    this.body = body ?? {};
  }

  get isUnanswered() {
    return this.status === 0;
  }
}

function headersOf(body) {
  const headers = { Accept: 'application/json' };
  if (session.token) {
    headers.Authorization = `Bearer ${session.token}`;
  }
  if (body !== undefined) {
    headers['Content-Type'] = 'application/json';
  }
  return headers;
}

// Asks, and gives the answer's JSON (or its text, where it is none); throws a `Refusal`.
async function ask({ method = 'GET', path, body }) {
  const asked = session.token;
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      headers: headersOf(body),
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    text = await response.text();
  } catch (error) {
    const late = error.name === 'TimeoutError';
    throw new Refusal(0, null, late ? 'The daemon did not answer in time.' : 'The daemon does not answer.');
  }
  const answer = parsed(text, response);
  if (!response.ok) {
    throw refusal(response, answer, asked);
  }
  return answer;
}

function parsed(text, response) {
  const type = response.headers.get('Content-Type') ?? '';
  if (!type.includes('json')) {
    return text;
  }
  try {
    return text === '' ? null : JSON.parse(text);
  } catch {
    throw new Refusal(response.status, null, 'The answer is not the JSON that it says it is.');
  }
}

function refusal(response, answer, askedWith) {
  const body = typeof answer === 'object' ? answer : { message: answer };
  if (response.status === 401 && askedWith === session.token) {
    wantToken(askedWith ? 'The daemon does not take this token.' : '');
  }
  return new Refusal(response.status, body, `The daemon answered ${response.status} ${response.statusText}`.trim());
}

function wantToken(why) {
  session.token = null;
  session.role = null;
  session.wanted = true;
  session.attempts += 1;
  session.refused = why;
  writeStored(sessionStorage, TOKEN_KEY, null);
  invalidate();
}

// Who we are to the daemon, with the token that there is.
async function greet() {
  const answer = await ask({ path: '/session' });
  Object.assign(session, {
    name: answer.name,
    role: answer.role,
    authentication: answer.authentication,
    wanted: false,
    refused: '',
  });
}

// Events of a stream, until it ends or `signal` is raised. EventSource cannot send a token.
async function* follow(path, signal) {
  const asked = session.token;
  let response;
  try {
    response = await fetch(path, {
      headers: { ...headersOf(), Accept: 'text/event-stream' },
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      signal,
    });
  } catch {
    throw new Refusal(0, null, 'The daemon does not answer.');
  }
  if (!response.ok) {
    throw refusal(response, parsed(await response.text(), response), asked);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      return;
    }
    const blocks = (waiting + value).replace(/\r\n/g, '\n').split('\n\n');
    waiting = blocks.pop();
    yield* blocks.map(eventOf).filter(Boolean);
  }
}

// A block of lines as the event that it is; nothing where it is a comment.
function eventOf(block) {
  let name = 'message';
  const data = [];
  for (const line of block.split('\n')) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === 'event') {
      name = value;
    } else if (field === 'data') {
      data.push(value);
    }
  }
  return data.length || name !== 'message' ? { name, data: data.join('\n') } : null;
}

// A part of a path: names are whatever somebody called their connector.
const part = encodeURIComponent;

function withConfirmation(path, token) {
  return `${path}${path.includes('?') ? '&' : '?'}confirm=${part(token)}`;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// The request as a command for a shell, the token as a variable of it.
function curl({ method = 'GET', path, body, stream }) {
  const words = ['curl'];
  if (stream) {
    words.push('-N');
  }
  if (method !== 'GET') {
    words.push(`-X ${method}`);
  }
  const lines = [`${words.join(' ')} ${quoted(location.origin + path)}`];
  if (session.authentication === 'token') {
    lines.push('-H "Authorization: Bearer $TAILRACE_TOKEN"');
  }
  if (body !== undefined) {
    lines.push("-H 'Content-Type: application/json'", `--data ${quoted(JSON.stringify(body))}`);
  }
  return lines.join(' \\\n  ');
}
