// Charts over time by uPlot, and sparklines, meters and bars that are plain elements.

const CHART_HEIGHT = 150;
// While little is known, it stands at the end of so much time, so that a chart does not begin with a cliff.
const SHORTEST_SPAN_S = 300;
// Below this, a line alone could not be seen.
const FEW_SAMPLES = 6;
// Ticks of sizes stand on powers of two, so that they read as whole KiB, MiB and GiB.
const INCREMENTS_OF_BYTES = Array.from({ length: 50 }, (_, power) => 2 ** power);

// A colour of the style sheet as the canvas needs it, resolved for light or dark.
function color(name) {
  const probe = document.createElement('span');
  probe.style.setProperty('color', `var(--${name})`);
  document.body.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

// One or more lines over time. `lines`: `{label, color, values}`, values by sample; `text` writes a value with its unit;
// `limit` is a line that should not be reached.
function chart({ key, title, samples, lines, text, isBytes, limit, note }) {
  const shown = lines.filter((line) => line.values.some(isNumber));
  const newest = shown.map((line) => `${line.label} ${text(line.values.findLast(isNumber))}`);
  const most = Math.max(...shown.flatMap((line) => line.values.filter(isNumber)));
  const summary = shown.length ? `${newest.join(', ')}, most in this time ${text(most)}` : 'nothing known yet';
  return h(
    'figure',
    { class: 'chart', key },
    h(
      'figcaption',
      null,
      h('span', { class: 'chart-title' }, title),
      shown.map((line) =>
        h(
          'span',
          { class: `legend line-${line.color}`, key: line.label },
          `${line.label} `,
          h('b', null, text(line.values.findLast(isNumber))),
        ),
      ),
      shown.length ? h('span', { class: 'muted' }, `most ${text(most)}`) : null,
      limit ? h('span', { class: 'legend line-limit' }, `limit ${text(limit)}`) : null,
    ),
    shown.length && samples.length > 1
      ? plot({ title, summary, samples, lines: shown, text, isBytes, limit })
      : h('p', { class: 'chart-empty muted' }, note ?? 'Nothing to draw yet: samples come every five seconds.'),
  );
}

function plot(given) {
  return h('div', {
    class: 'plot',
    tabindex: '0',
    role: 'img',
    'aria-label': `${given.title}: ${given.summary}. Left and right arrow keys move through time.`,
    key: `plot-${ui.themeVersion ?? 0}-${given.lines.map((line) => line.label).join()}-${given.limit ? 'limit' : ''}`,
    data: given,
    mounted: mountPlot,
    updated: updatePlot,
    removed: removePlot,
    on: { keydown: (event) => moveCursor(event) },
  });
}

function plotData({ samples, lines, limit }) {
  const data = [samples.map((sample) => sample.atMs / 1000), ...lines.map((line) => line.values)];
  return limit ? [...data, samples.map(() => limit)] : data;
}

function mountPlot(element, given) {
  const readout = document.createElement('div');
  readout.className = 'readout';
  const options = plotOptions(element, given, readout);
  element.plotted = new uPlot(options, plotData(given), element);
  element.append(readout);
  element.given = given;
  element.observer = new ResizeObserver(() => {
    if (element.clientWidth > 0) {
      element.plotted.setSize({ width: element.clientWidth, height: CHART_HEIGHT });
    }
  });
  element.observer.observe(element);
}

function plotOptions(element, given, readout) {
  const axis = {
    stroke: color('muted'),
    grid: { stroke: color('grid'), width: 1 },
    ticks: { show: false },
    font: '11px system-ui, sans-serif',
  };
  const series = given.lines.map((line, index) => ({
    label: line.label,
    stroke: color(`line-${line.color}`),
    width: 1.5,
    points: { show: (self) => self.data[0].length < FEW_SAMPLES, size: 5 },
    fill: index === 0 ? color(`fill-${line.color}`) : undefined,
  }));
  const limit = given.limit
    ? [{ label: 'limit', stroke: color('line-limit'), width: 1, dash: [5, 4], points: { show: false } }]
    : [];
  return {
    width: Math.max(element.clientWidth, 200),
    height: CHART_HEIGHT,
    legend: { show: false },
    padding: [8, 8, 0, 0],
    cursor: { y: false, drag: { x: false, y: false } },
    scales: {
      x: { range: (_, first, last) => [Math.min(first, last - SHORTEST_SPAN_S), last] },
      y: { range: (_, __, most) => [0, rangeTop(most)] },
    },
    axes: [
      {
        ...axis,
        size: 24,
        space: 70,
        values: (_, times) => times.map((time) => clock(new Date(time * 1000)).slice(0, 5)),
      },
      {
        ...axis,
        size: 66,
        space: 32,
        incrs: given.isBytes ? INCREMENTS_OF_BYTES : undefined,
        values: (_, values) => values.map(given.text),
      },
    ],
    series: [{}, ...series, ...limit],
    hooks: { setCursor: [(self) => showReadout(self, element, readout)] },
  };
}

function rangeTop(most) {
  return isNumber(most) && most > 0 ? most * 1.1 : 1;
}

function showReadout(self, element, readout) {
  const { idx } = self.cursor;
  const given = element.given;
  const sample = given?.samples[idx];
  readout.hidden = !sample;
  if (sample) {
    const values = given.lines.map((line) => `${line.label} ${given.text(line.values[idx])}`);
    readout.textContent = `${clock(new Date(sample.atMs))}  ${values.join('  ')}`;
  }
}

function updatePlot(element, given) {
  const last = given.samples.at(-1);
  if (element.newest !== last || element.given.samples.length !== given.samples.length) {
    element.newest = last;
    element.given = given;
    element.plotted.setData(plotData(given));
  }
}

function removePlot(element) {
  element.observer.disconnect();
  element.plotted.destroy();
}

function moveCursor(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const element = event.currentTarget;
  if (!step || !element.plotted) {
    return;
  }
  event.preventDefault();
  const self = element.plotted;
  const last = self.data[0].length - 1;
  const index = Math.min(Math.max((self.cursor.idx ?? last + 1) + step, 0), last);
  self.setCursor({ left: self.valToPos(self.data[0][index], 'x'), top: 10 });
}

// --- sparklines

const SPARK_WIDTH = 120;
const SPARK_HEIGHT = 26;
// More points than this cannot be told apart.
const SPARK_POINTS = 60;

// The shape of a number over the last hour; the number itself stands beside it.
function sparkline(values) {
  const points = thinned(values).map((value) => (isNumber(value) ? value : 0));
  const most = Math.max(...points, 0);
  const x = (index) => ((index * SPARK_WIDTH) / Math.max(points.length - 1, 1)).toFixed(1);
  const y = (value) => (SPARK_HEIGHT - 2 - (most > 0 ? value / most : 0) * (SPARK_HEIGHT - 4)).toFixed(1);
  const line = points.map((value, index) => `${index ? 'L' : 'M'}${x(index)} ${y(value)}`).join('');
  const attributes = {
    class: 'spark',
    viewBox: `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`,
    preserveAspectRatio: 'none',
    'aria-hidden': 'true',
    focusable: 'false',
  };
  if (points.length < 2) {
    return h('svg', attributes, h('path', { class: 'spark-line', d: `M0 ${y(0)}H${SPARK_WIDTH}` }));
  }
  return h(
    'svg',
    attributes,
    h('path', { class: 'spark-area', d: `${line}V${SPARK_HEIGHT}H0Z` }),
    h('path', { class: 'spark-line', d: line }),
  );
}

// As many values as can be seen, each the largest of its neighbours, so that a peak stays one.
function thinned(all) {
  // Between which samples a rate is taken is not known of the first.
  const values = all.slice(all.findIndex(isNumber));
  const size = Math.ceil(values.length / SPARK_POINTS);
  if (size <= 1) {
    return values;
  }
  const groups = Array.from({ length: Math.ceil(values.length / size) }, (_, index) =>
    values.slice(index * size, (index + 1) * size),
  );
  return groups.map((group) => Math.max(...group.map((value) => value ?? 0)));
}

// Rates of several connectors added up, by moments of five seconds.
function summedRates(names, field) {
  const sums = new Map();
  for (const name of names) {
    const samples = historyOf(name);
    ratesOf(samples, field).forEach((rate, index) => {
      const moment = Math.round(samples[index].atMs / SAMPLE_MS);
      sums.set(moment, (sums.get(moment) ?? 0) + (rate ?? 0));
    });
  }
  return [...sums.keys()].sort((a, b) => a - b).map((moment) => sums.get(moment));
}

// --- meters and bars

// How much of a limit is used; from three quarters on it is a warning, from nine tenths on an alarm.
function meter(label, used, limit, text) {
  const share = limit > 0 ? Math.min(used / limit, 1) : 0;
  const level = share >= 0.9 ? 'alarm' : share >= 0.75 ? 'warning' : 'calm';
  return h(
    'div',
    {
      class: `meter ${level}`,
      role: 'meter',
      'aria-label': label,
      'aria-valuemin': '0',
      'aria-valuemax': String(limit),
      'aria-valuenow': String(Math.min(used, limit)),
      'aria-valuetext': text,
    },
    h('span', { class: 'meter-bar', vars: { '--share': `${(share * 100).toFixed(1)}%` } }),
  );
}

// How much of something is done; without a known end the bar only says that it goes on.
function progressBar(label, done, total, finished) {
  const known = finished || total > 0;
  return h('progress', {
    class: finished ? 'progress finished' : 'progress',
    'aria-label': label,
    max: '1',
    value: known ? String(finished ? 1 : Math.min(done / total, 0.999)) : null,
  });
}
