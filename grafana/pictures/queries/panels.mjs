// What each panel of a dashboard asks, and the raw answers.
import { infinity } from './infinity.mjs';
import * as prometheus from './prometheus.mjs';
import { duration, interval } from './time.mjs';
import { fill, least } from './variables.mjs';

// Between the panels of the grid, and of its 24 columns.
const GAP = 8;

/** Every panel that is seen, with its frames and errors. Panels of closed rows are left out. */
export async function answers(dashboard, context) {
  const shown = dashboard.panels.filter((panel) => panel.type !== 'row');
  return Promise.all(shown.map((panel) => answer(panel, context)));
}

async function answer(panel, context) {
  let range = context.range;
  if (panel.timeFrom) range = { from: range.to - duration(panel.timeFrom), to: range.to };
  if (panel.timeShift) {
    const shift = duration(panel.timeShift);
    range = { from: range.from - shift, to: range.to - shift };
  }
  const width = ((context.width - GAP) / 24) * panel.gridPos.w;
  const points = panel.maxDataPoints ?? Math.max(1, Math.round(width - 2 * GAP));
  const targets = (panel.targets ?? []).filter((target) => !target.hide);
  const result = { panel, range, frames: [], errors: [] };
  for (const target of targets) {
    try {
      result.frames.push(...(await ask(panel, target, range, points, targets.length > 1, context)));
    } catch (error) {
      result.errors.push(`${target.refId}: ${error.message}`);
    }
  }
  return result;
}

async function ask(panel, target, range, points, several, context) {
  const kind = target.datasource?.type ?? panel.datasource?.type;
  const inner = { ...context, range };
  const at = (usual, step) => (text) => fill(text, { ...inner, step }, usual);
  if (kind === 'prometheus') {
    const shortest = least(at('glob')(target.interval || panel.interval || ''), context.scrape);
    const step = Math.max(interval(range, points, shortest), (range.to - range.from) / 11_000);
    return prometheus.run(target, context.sources.prometheus, at('prometheus', step), range, step, several);
  }
  if (kind === 'yesoreyeram-infinity-datasource') {
    const step = interval(range, points, least(panel.interval, 1));
    return [await infinity(target, context.sources.ledger, at('glob', step), range)];
  }
  throw new Error(`a data source of the type ${kind} is not drawn`);
}

/** The lines that annotations put on charts over time. */
export async function annotations(dashboard, context) {
  const marks = [];
  for (const one of dashboard.annotations?.list ?? []) {
    if (!one.enable || one.datasource?.type !== 'prometheus') continue;
    const step = Math.max(least(one.step, 60_000), interval(context.range, 1000, context.scrape));
    const inner = (text) => fill(text, { ...context, step }, 'prometheus');
    const target = { refId: 'A', expr: one.expr, range: true, legendFormat: one.titleFormat };
    for (const { fields } of await prometheus.run(target, context.sources.prometheus, inner, context.range, step, false)) {
      const [times, values] = fields;
      const active = times.values.filter((_, n) => values.values[n] !== null && values.values[n] !== 'NaN' && Number(values.values[n]) !== 0);
      // Points of one step's distance are one region, of which the start is drawn.
      active.forEach((time, n) => {
        if (n && time - active[n - 1] <= step) return;
        marks.push({ time, title: values.config.displayNameFromDS ?? '', color: one.iconColor });
      });
    }
  }
  return marks;
}
