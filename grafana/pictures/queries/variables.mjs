// Template variables: their values, and their places in texts, as Grafana's template service fills them in.
import { duration, written } from './time.mjs';
import { infinity } from './infinity.mjs';
import * as prometheus from './prometheus.mjs';

const ALL = '$__all';
const list = (value) => (Array.isArray(value) ? value : [value]);

/** Every variable's value, in the dashboard's order. `given` are those of the command line. */
export async function resolve(dashboard, given, sources, range, timezone) {
  const variables = new Map();
  for (const model of dashboard.templating?.list ?? []) {
    const variable = { name: model.name, label: model.label || model.name, type: model.type, hide: model.hide ?? 0, model };
    variable.choices = await choices(model, sources, { variables, range, timezone });
    variable.value = given[model.name] ?? chosen(model, variable.choices);
    if (typeof given[model.name] === 'string' && given[model.name].includes(',')) variable.value = given[model.name].split(',');
    variable.all = list(variable.value).includes(ALL);
    variable.several = Boolean(model.multi || model.includeAll);
    variables.set(model.name, variable);
  }
  return variables;
}

async function choices(model, sources, context) {
  switch (model.type) {
    case 'datasource':
      return [{ text: model.query, value: model.query }];
    case 'constant':
    case 'textbox': {
      const value = model.current?.value ?? model.query ?? '';
      return [{ text: value, value }];
    }
    case 'custom':
    case 'interval':
      return (model.query ?? '').split(/(?<!\\),/).filter(Boolean).map((part) => {
        const [text, value] = part.trim().split(/\s+:\s+/);
        return { text, value: value ?? text };
      });
    case 'query':
      return ordered(model, await queried(model, sources, context));
    default:
      throw new Error(`variable ${model.name}: the type ${model.type} is not drawn`);
  }
}

async function queried(model, sources, context) {
  const query = model.query;
  if (query?.infinityQuery) {
    const frame = await infinity({ refId: 'variable', ...query.infinityQuery }, sources.ledger, (text) => fill(text, context, 'glob'), context.range);
    const field = (name) => frame.fields.find((one) => one.name === name);
    const values = field('__value') ?? field('__text') ?? frame.fields[frame.fields.length === 2 ? 1 : 0];
    const texts = field('__text') ?? frame.fields[0];
    return (values?.values ?? []).map((value, row) => ({ value: String(value), text: String(texts.values[row]) }));
  }
  const text = fill(typeof query === 'string' ? query : query?.query ?? model.definition, context, 'prometheus');
  const values = await prometheus.variable(text, sources.prometheus, context.range);
  return values.map((value) => ({ text: value, value }));
}

function ordered(model, found) {
  let kept = found;
  const pattern = /^\/(.*)\/([a-z]*)$/.exec(model.regex ?? '') ?? (model.regex ? [null, model.regex, ''] : null);
  if (pattern) {
    const regex = new RegExp(pattern[1], pattern[2].replace('g', ''));
    kept = found.flatMap(({ text }) => {
      const hit = regex.exec(text);
      if (!hit) return [];
      const value = hit.groups?.value ?? hit[1] ?? hit[0];
      return [{ value, text: hit.groups?.text ?? value }];
    });
  }
  const seen = new Set();
  kept = kept.filter(({ value }) => !seen.has(value) && seen.add(value));
  if (model.sort) kept.sort((a, b) => (model.sort % 2 ? 1 : -1) * a.text.localeCompare(b.text, 'en', { numeric: model.sort > 2 }));
  return kept;
}

function chosen(model, found) {
  const current = model.current?.value;
  if (current !== undefined && current !== '' && !(Array.isArray(current) && !current.length)) return current;
  if (model.includeAll) return [ALL];
  return found[0]?.value ?? '';
}

/** What the dashboard's header shows as a variable's value. */
export function shown(variable) {
  if (variable.all) return 'All';
  return list(variable.value)
    .map((value) => variable.choices.find((choice) => choice.value === value)?.text ?? value)
    .join(' + ');
}

const escaped = (text) => text.replace(/[\\^$*+?.()|[\]{}/]/g, '\\$&');
const promEscaped = (text) => text.replace(/\\/g, '\\\\').replace(/[$^*{}[\]+?.()|]/g, '\\\\$&');

function formatted(values, single, format) {
  switch (format) {
    case 'csv': return values.join(',');
    case 'pipe': return values.join('|');
    case 'regex': return values.length === 1 ? escaped(values[0]) : `(${values.map(escaped).join('|')})`;
    case 'percentencode': return encodeURIComponent(values.length === 1 ? values[0] : `{${values.join(',')}}`);
    case 'sqlstring': return values.map((value) => `'${value.replaceAll("'", "''")}'`).join(',');
    case 'singlequote': return values.map((value) => `'${value}'`).join(',');
    case 'doublequote': return values.map((value) => `"${value}"`).join(',');
    case 'json': return JSON.stringify(single ? values[0] : values);
    case 'raw': return values.join(',');
    case 'prometheus':
      if (single) return values[0].replace(/\\/g, '\\\\').replace(/"/g, '\\"');
      return values.length === 1 ? promEscaped(values[0]) : `(${values.map(promEscaped).join('|')})`;
    default: return values.length === 1 ? values[0] : `{${values.join(',')}}`;
  }
}

function valueOf(variable, format) {
  if (format === 'text') return shown(variable);
  if (variable.all && variable.model.allValue) {
    return format === 'percentencode' ? encodeURIComponent(variable.model.allValue) : variable.model.allValue;
  }
  const values = variable.all ? variable.choices.map((choice) => choice.value) : list(variable.value).map(String);
  return formatted(values.length ? values : [''], !variable.several, format);
}

function builtin(name, format, { range, timezone, step, scrape, scoped }) {
  const time = (ms) => {
    if (!format) return String(ms);
    if (format === 'date:seconds') return String(Math.floor(ms / 1000));
    return new Date(ms).toISOString();
  };
  if (scoped && name in scoped) return String(scoped[name]);
  switch (name) {
    case '__from': return time(range.from);
    case '__to': return time(range.to);
    case '__range': return `${Math.round((range.to - range.from) / 1000)}s`;
    case '__range_s': return String(Math.round((range.to - range.from) / 1000));
    case '__range_ms': return String(range.to - range.from);
    case '__timezone': return timezone;
    case '__interval': return step ? written(step) : undefined;
    case '__interval_ms': return step ? String(step) : undefined;
    case '__rate_interval': return step ? written(Math.max(step + scrape, 4 * scrape)) : undefined;
    case '__rate_interval_ms': return step ? String(Math.max(step + scrape, 4 * scrape)) : undefined;
    default: return undefined;
  }
}

/** The text with `$name`, `${name}`, `${name:format}` and `[[name]]` filled in. What is unknown stays. */
export function fill(text, context, usual) {
  return String(text ?? '').replace(/\$(\w+)|\$\{(\w+)(?:\.[^:}]+)?(?::([^}]+))?\}|\[\[(\w+)(?::([^\]]+))?\]\]/g, (whole, a, b, f, c, g) => {
    const name = a ?? b ?? c;
    const format = f ?? g;
    const variable = context.variables.get(name);
    if (variable) return valueOf(variable, format ?? usual);
    return builtin(name, format, context) ?? whole;
  });
}

/** The shortest step a panel may ask for, in milliseconds. */
export const least = (text, fallback) => (text ? duration(text.replace(/^[<>]=?/, '')) : fallback);
