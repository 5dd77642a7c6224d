// The Infinity data source's `backend` parser: a JSON answer made a frame, by the rules of the plugin's own source
// (grafana/infinity-libs, jsonframer and gframer): columns come in the order of their names, `number` reads texts too,
// what does not fit its type is null.

/** The part of a JSON value that a selector names (GJSON paths of names and numbers, `#` for the length, `@tostr` for JSON). */
export function select(value, selector) {
  if (!selector) return value;
  let at = value;
  for (const step of selector.split(/(?<!\\)\./).map((part) => part.replaceAll('\\.', '.'))) {
    if (at === null || at === undefined) return undefined;
    if (step === '#' && Array.isArray(at)) at = at.length;
    else if (step === '@tostr') at = JSON.stringify(at);
    else at = at[step];
  }
  return at;
}

const text = (value) => (['string', 'number', 'boolean'].includes(typeof value) ? String(value) : null);

function number(value) {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || value.trim() !== value || value === '') return null;
  // Infinity is no number of JSON: it goes on as it came.
  if (value === '+Inf') return value;
  return Number.isNaN(Number(value)) ? null : Number(value);
}

function time(value) {
  if (typeof value === 'string' && value !== '') {
    const parsed = Date.parse(/^\d{4}-\d\d-\d\d$/.test(value) ? `${value}T00:00:00Z` : value);
    return Number.isNaN(parsed) ? null : parsed;
  }
  return null;
}

const epoch = (unit) => (value) => {
  const parsed = typeof value === 'string' ? Number.parseInt(value, 10) : value;
  return Number.isFinite(parsed) ? Math.trunc(parsed) * unit : null;
};

const TYPES = {
  string: ['string', text],
  number: ['number', number],
  boolean: ['boolean', (value) => (typeof value === 'boolean' ? value : String(value).toLowerCase() === 'true' || null)],
  timestamp: ['time', time],
  timestamp_epoch: ['time', epoch(1)],
  timestamp_epoch_s: ['time', epoch(1000)],
};

function column(name, type, values) {
  if (TYPES[type]) return { name, type: TYPES[type][0], values: values.map(TYPES[type][1]), config: {} };
  const first = values.find((value) => value !== null && value !== undefined);
  const kind = typeof first === 'number' ? 'number' : typeof first === 'boolean' ? 'boolean' : 'string';
  const shown = (value) => (value === undefined || value === null ? null : typeof value === 'object' ? JSON.stringify(value) : value);
  return { name, type: kind, values: values.map(shown), config: {} };
}

/** The frame of one target. */
export async function infinity(target, source, fill, range) {
  if (target.type !== 'json' || target.source !== 'url' || target.parser !== 'backend') {
    throw new Error('only Infinity targets with type json, source url and parser backend are drawn');
  }
  const url = new URL(/^https?:/.test(target.url) ? fill(target.url) : source + fill(target.url));
  for (const { key, value } of target.url_options?.params ?? []) url.searchParams.append(key, fill(value));
  const answer = await fetch(url);
  const body = await answer.text();
  if (!answer.ok) throw new Error(`${url.pathname}${url.search}: ${answer.status} ${body.slice(0, 300)}`);
  const root = select(JSON.parse(body), fill(target.root_selector));
  if (root === undefined) throw new Error(`${url.pathname}: nothing at ${target.root_selector}`);
  const rows = Array.isArray(root) ? root : [root];
  const names = target.columns?.length
    ? target.columns.map(({ selector, text: alias, type }) => ({ selector, name: alias || selector, type }))
    : [...new Set(rows.flatMap((row) => Object.keys(row ?? {})))].map((name) => ({ selector: name, name }));
  names.sort((a, b) => (a.name < b.name ? -1 : 1));
  const fields = rows.length ? names.map(({ selector, name, type }) => column(name, type, rows.map((row) => select(row, selector)))) : [];
  const frame = { refId: target.refId, name: target.refId, fields, meta: {} };
  return target.format === 'timeseries' ? wide(frame) : frame;
}

/** A long frame (a time, texts, numbers) made one field for each combination of the texts. */
function wide(frame) {
  const times = frame.fields.filter((field) => field.type === 'time');
  const texts = frame.fields.filter((field) => field.type === 'string');
  const numbers = frame.fields.filter((field) => field.type === 'number');
  if (times.length !== 1 || !texts.length || !numbers.length) return frame;
  const at = times[0].values;
  if (at.some((value, row) => value === null || (row && value < at[row - 1]))) return frame;
  const unique = [...new Set(at)];
  const rowOf = new Map(unique.map((value, row) => [value, row]));
  const made = new Map();
  at.forEach((value, row) => {
    const labels = Object.fromEntries(texts.map((field) => [field.name, field.values[row] ?? '']));
    for (const field of numbers) {
      const key = JSON.stringify([labels, field.name]);
      if (!made.has(key)) made.set(key, { name: field.name, type: 'number', labels, config: {}, values: unique.map(() => null) });
      made.get(key).values[rowOf.get(value)] = field.values[row];
    }
  });
  const sorted = [...made.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, field]) => field);
  return { ...frame, meta: { type: 'timeseries-wide' }, fields: [{ ...times[0], values: unique }, ...sorted] };
}
