// Prometheus' HTTP API, and the frames that Grafana's data source makes of its answers.

async function ask(source, path, parameters) {
  const answer = await fetch(`${source}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const body = await answer.json();
  if (body.status !== 'success') throw new Error(`Prometheus: ${body.error}`);
  return body.data;
}

/** The values of a variable's query: label_values, label_names, metrics, query_result. */
export async function variable(text, source, range) {
  const times = { start: range.from / 1000, end: range.to / 1000 };
  const values = /^label_values\((?:(.*),)?\s*([a-zA-Z_]\w*)\s*\)$/s.exec(text.trim());
  if (values) {
    const [, selector, label] = values;
    return ask(source, `label/${label}/values`, { ...times, ...(selector?.trim() && { 'match[]': selector.trim() }) });
  }
  if (/^label_names\(\)$/.test(text.trim())) return ask(source, 'labels', times);
  const metrics = /^metrics\((.*)\)$/.exec(text.trim());
  if (metrics) return (await ask(source, 'label/__name__/values', times)).filter((name) => new RegExp(metrics[1]).test(name));
  const result = /^query_result\((.*)\)$/s.exec(text.trim());
  if (result) {
    const data = await ask(source, 'query', { query: result[1], time: times.end });
    return data.result.map(({ metric: { __name__: name = '', ...labels }, value }) => `${name}{${pairs(labels)}} ${value[1]} ${value[0] * 1000}`);
  }
  throw new Error(`not a query for a variable: ${text}`);
}

const pairs = (labels) => Object.entries(labels).map(([key, value]) => `${key}="${value}"`).join(', ');
// JSON has no NaN and no infinity: they travel as Prometheus writes them.
const number = (text) => (Number.isFinite(Number(text)) ? Number(text) : text);
const NUMBERS = { NaN: Number.NaN, '+Inf': Infinity, '-Inf': -Infinity };
const plain = (value) => (typeof value === 'string' ? NUMBERS[value] : value);

/** The frames of one target. `fill` fills variables in; `step` is in milliseconds. */
export async function run(target, source, fill, range, step, several) {
  const expression = fill(target.expr);
  const frames = [];
  const seconds = step / 1000;
  const start = Math.floor(range.from / step) * seconds;
  const end = Math.floor(range.to / step) * seconds;
  if (target.range || !target.instant) {
    const data = await ask(source, 'query_range', { query: expression, start, end, step: seconds });
    for (const { metric, values } of data.result) {
      const points = new Map(values.map(([time, value]) => [Math.round(time * 1000), number(value)]));
      const times = [];
      for (let time = start * 1000; time <= end * 1000 + 1; time += step) times.push(Math.round(time));
      frames.push({ metric, times, values: times.map((time) => points.get(time) ?? null) });
    }
  }
  if (target.instant) {
    const data = await ask(source, 'query', { query: expression, time: range.to / 1000 });
    const result = data.resultType === 'scalar' ? [{ metric: {}, value: data.result }] : data.result;
    for (const { metric, value } of result) frames.push({ metric, times: [Math.round(value[0] * 1000)], values: [number(value[1])] });
  }
  if (target.format === 'table') return [table(frames, target.refId, several)];
  if (target.format === 'heatmap') return heatmap(frames, target.refId);
  return frames.map(({ metric, times, values }) => ({
    refId: target.refId,
    meta: { type: target.instant ? 'numeric-multi' : 'timeseries-multi', custom: { step } },
    fields: [
      { name: 'Time', type: 'time', values: times, config: { interval: step } },
      { name: metric.__name__ ?? 'Value', type: 'number', values, labels: without(metric), config: legend(target, metric, expression) },
    ],
  }));
}

function without({ __name__: _, ...labels }) {
  return labels;
}

function legend({ legendFormat }, metric, expression) {
  const { __name__: name = '', ...labels } = metric;
  const whole = `${name}${Object.keys(labels).length ? `{${pairs(labels)}}` : ''}`;
  if (legendFormat === '__auto') return Object.keys(labels).length ? {} : { displayNameFromDS: whole || expression };
  if (!legendFormat) return { displayNameFromDS: whole || expression };
  return { displayNameFromDS: legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? '') };
}

/** One table of all series: time, a column for each label, the value. */
function table(frames, refId, several) {
  const labels = [...new Set(frames.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const rows = frames.flatMap(({ metric, times, values }) =>
    times.flatMap((time, n) => (values[n] === null ? [] : [{ time, metric, value: values[n] }])));
  rows.sort((a, b) => a.time - b.time);
  return {
    refId,
    fields: [
      { name: 'Time', type: 'time', values: rows.map((row) => row.time), config: {} },
      ...labels.map((name) => ({ name, type: 'string', values: rows.map((row) => row.metric[name] ?? ''), config: { filterable: true } })),
      { name: several ? `Value #${refId}` : 'Value', type: 'number', values: rows.map((row) => row.value), config: {} },
    ],
  };
}

/** Cumulative buckets made single ones, in one frame by their upper bounds. */
function heatmap(frames, refId) {
  const bound = ({ metric }) => (metric.le === '+Inf' ? Infinity : Number(metric.le));
  const sorted = [...frames].sort((a, b) => bound(a) - bound(b));
  if (!sorted.length) return [];
  const fields = sorted.map(({ metric, values }, n) => ({
    name: metric.le,
    type: 'number',
    labels: { le: metric.le },
    config: { displayNameFromDS: metric.le },
    values: values.map((value, row) => {
      const below = n ? plain(sorted[n - 1].values[row]) ?? 0 : 0;
      return value === null ? null : Math.max(0, plain(value) - below);
    }),
  }));
  const time = { name: 'Time', type: 'time', values: sorted[0].times, config: {} };
  return [{ refId, meta: { type: 'heatmap-rows' }, fields: [time, ...fields] }];
}
