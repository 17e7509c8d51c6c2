// Numbers, sizes, durations and times as people read them, always with their unit.

const WHOLE = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 });
const UNITS_OF_BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const UNKNOWN = '–';

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

function count(value) {
  return isNumber(value) ? WHOLE.format(value) : UNKNOWN;
}

// Few digits for small numbers, none for large ones.
function digits(value) {
  const size = Math.abs(value);
  if (size === 0 || size >= 100) {
    return WHOLE.format(value);
  }
  return String(Number(value.toFixed(size >= 10 ? 1 : 2)));
}

function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

function bytes(value) {
  if (!isNumber(value)) {
    return UNKNOWN;
  }
  let size = value;
  let unit = 0;
  while (Math.abs(size) >= 1024 && unit < UNITS_OF_BYTES.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${digits(size)} ${UNITS_OF_BYTES[unit]}`;
}

function perSecond(value) {
  return isNumber(value) ? `${digits(value)}/s` : UNKNOWN;
}

function bytesPerSecond(value) {
  return isNumber(value) ? `${bytes(value)}/s` : UNKNOWN;
}

function duration(milliseconds) {
  if (!isNumber(milliseconds)) {
    return UNKNOWN;
  }
  const size = Math.abs(milliseconds);
  const two = (large, largeUnit, small, smallUnit) =>
    small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`;
  if (size < SECOND_MS) {
    return `${Math.round(milliseconds)} ms`;
  }
  if (size < MINUTE_MS) {
    return `${digits(milliseconds / SECOND_MS)} s`;
  }
  if (size < HOUR_MS) {
    return two(Math.floor(size / MINUTE_MS), 'min', Math.floor((size % MINUTE_MS) / SECOND_MS), 's');
  }
  if (size < DAY_MS) {
    return two(Math.floor(size / HOUR_MS), 'h', Math.floor((size % HOUR_MS) / MINUTE_MS), 'min');
  }
  return two(Math.floor(size / DAY_MS), 'd', Math.floor((size % DAY_MS) / HOUR_MS), 'h');
}

// A duration for a line of text, without what nobody asks for.
function roughly(milliseconds) {
  const size = Math.abs(milliseconds);
  if (size < MINUTE_MS) {
    return `${Math.round(size / SECOND_MS)} s`;
  }
  if (size < HOUR_MS) {
    return `${Math.round(size / MINUTE_MS)} min`;
  }
  return size < 2 * DAY_MS ? duration(Math.round(size / MINUTE_MS) * MINUTE_MS) : `${Math.round(size / DAY_MS)} days`;
}

const two = (number) => String(number).padStart(2, '0');

function clock(date) {
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function day(date) {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

// Local time, and the same in UTC where that is another.
function absolute(milliseconds) {
  const date = new Date(milliseconds);
  if (Number.isNaN(date.getTime())) {
    return UNKNOWN;
  }
  const utc = `${date
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, '')} UTC`;
  return date.getTimezoneOffset() === 0 ? utc : `${day(date)} ${clock(date)} here, ${utc}`;
}

// A time of microseconds since 1970 as how long ago it is; the time itself is in the title.
function when(microseconds) {
  if (!isNumber(microseconds) || microseconds <= 0) {
    return UNKNOWN;
  }
  return timeElement(microseconds / 1000);
}

// A time that is written as text, as in dead letters.
function whenText(text) {
  const milliseconds = Date.parse(text ?? '');
  return Number.isNaN(milliseconds) ? (text ?? UNKNOWN) : timeElement(milliseconds);
}

function timeElement(milliseconds) {
  const date = new Date(milliseconds);
  if (Number.isNaN(date.getTime())) {
    return UNKNOWN;
  }
  const age = Date.now() - milliseconds;
  const words = age < -SECOND_MS ? `in ${roughly(age)}` : age < 5 * SECOND_MS ? 'just now' : `${roughly(age)} ago`;
  return h('time', { datetime: date.toISOString(), title: absolute(milliseconds) }, words);
}

// A time as the clock shows it, with the day where that is not today, and how long ago it is.
function moment(microseconds) {
  const date = new Date(microseconds / 1000);
  const words = day(date) === day(new Date()) ? clock(date) : `${day(date)} ${clock(date)}`;
  return [words, h('span', { class: 'muted' }, when(microseconds))];
}

// A value of JSON on one line, cut where it is long.
function brief(value, length = 120) {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? UNKNOWN);
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}
