// The preflight: what is not as the connector needs it, each with the statement that mends it.

const SEVERITIES = ['blocks', 'warning', 'note'];
const SEVERITY_WORDS = { blocks: ['blocks', 'alarm'], warning: ['warning', 'warning'], note: ['note', ''] };

function preflightTab(connector) {
  const path = `/connectors/${part(connector.connector)}/preflight`;
  const entry = resource(path);
  const again = h(
    'button',
    { type: 'button', 'aria-disabled': entry.loading ? 'true' : null, on: { click: () => reload(path) } },
    entry.loading ? 'Checking …' : 'Check again',
  );
  return panel(
    'Preflight',
    { wide: true, request: { path }, actions: again, id: 'preflight' },
    answered(entry, findings, 'The database and the stream are being asked …'),
  );
}

function findings({ runs, findings: found }) {
  const sorted = [...found].sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
  const blocking = found.filter((finding) => finding.severity === 'blocks').length;
  return [
    h(
      'p',
      { class: 'big' },
      blocking
        ? `${plural(blocking, 'finding blocks', 'findings block')} the start`
        : found.length
          ? 'It can start; see below'
          : 'Everything is as it should be',
    ),
    runs === true
      ? h('p', { class: 'muted' }, 'The connector runs, and the check sees what its own connections hold.')
      : null,
    h(
      'ul',
      { class: 'plain findings' },
      sorted.map((finding, index) =>
        h(
          'li',
          { key: `${finding.code}:${index}`, class: `finding finding-${finding.severity}` },
          h(
            'p',
            null,
            badge(...(SEVERITY_WORDS[finding.severity] ?? [finding.severity, ''])),
            ' ',
            h('code', null, finding.code),
          ),
          h('p', { class: 'finding-problem' }, finding.problem),
          finding.remedy ? copyable(finding.remedy, { label: 'Copy' }) : null,
        ),
      ),
    ),
  ];
}
