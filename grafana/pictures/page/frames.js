// From raw answers to frames that can be drawn: transformations and field config, by @grafana/data.
import {
  FieldConfigOptionsRegistry, FieldType, applyFieldOverrides, cacheFieldDisplayNames, createDataFrame, standardTransformers,
  standardTransformersRegistry, standardFieldConfigEditorRegistry, transformDataFrame,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';
import { timeSeriesFrames } from './prepareTimeSeries.js';

const NUMBERS = { NaN: Number.NaN, '+Inf': Infinity, '-Inf': -Infinity };

/** Makes Grafana's own transformations known, and the one of its core that the dashboards use. */
export function register() {
  const own = { id: 'prepareTimeSeries', name: 'Prepare time series', operator: timeSeriesFrames };
  const transformations = [...new Set([...Object.values(standardTransformers), own])];
  standardTransformersRegistry.setInit(() =>
    transformations.map((transformation) => ({ id: transformation.id, name: transformation.name, transformation })));
  standardFieldConfigEditorRegistry.setInit(() => []);
}

function decoded({ fields, ...frame }) {
  const number = (value) => (typeof value === 'string' ? NUMBERS[value] ?? Number(value) : value);
  return createDataFrame({
    ...frame,
    fields: fields.map((field) => ({ ...field, values: field.type === FieldType.number ? field.values.map(number) : field.values })),
  });
}

const same = (value) => value;
const levels = (value) => value && { ...value, steps: value.steps.map((step, n) => (n ? step : { ...step, value: -Infinity })) };

// Grafana keeps the list of these in its core.
const STANDARD = {
  displayName: 'displayName', unit: 'unit', min: 'min', max: 'max', fieldMinMax: 'fieldMinMax', decimals: 'decimals',
  noValue: 'noValue', color: 'color', thresholds: 'thresholds', mappings: 'mappings', links: 'links', filterable: 'filterable',
  description: 'description',
};

function registry(custom) {
  const made = new FieldConfigOptionsRegistry();
  const item = (id, path, isCustom) => ({
    id, path, isCustom, name: id, settings: {}, editor: () => null, override: () => null,
    shouldApply: () => true, process: path === 'thresholds' && !isCustom ? levels : same,
  });
  for (const [id, path] of Object.entries(STANDARD)) made.register(item(id, path, false));
  for (const path of custom) made.register(item(`custom.${path}`, path, true));
  return made;
}

// What panels have where a dashboard says nothing: the defaults of Grafana's plugins.
const CUSTOM = {
  timeseries: {
    drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', spanNulls: false,
    showPoints: 'auto', pointSize: 5, stacking: { mode: 'none', group: 'A' }, axisPlacement: 'auto', axisColorMode: 'text',
    axisGridShow: true, axisCenteredZero: false, barAlignment: 0, barWidthFactor: 0.6, scaleDistribution: { type: 'linear' },
    thresholdsStyle: { mode: 'off' }, hideFrom: { legend: false, tooltip: false, viz: false },
  },
  table: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false, filterable: false },
  barchart: { fillOpacity: 80, lineWidth: 1 },
};
const COLOURS = { timeseries: 'palette-classic', barchart: 'palette-classic', piechart: 'palette-classic' };

/** The frames of a panel, transformed, with units, colours, thresholds and mappings. */
export async function prepare({ panel, frames, range }, { theme, timezone, replace }) {
  let data = frames.map(decoded);
  const wanted = (panel.transformations ?? []).filter((one) => !one.disabled);
  for (const { id } of wanted) if (!standardTransformersRegistry.getIfExists(id)) throw new Error(`the transformation ${id} is not drawn`);
  if (wanted.length) data = await lastValueFrom(transformDataFrame(wanted, data, { interpolate: replace }));
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const color = defaults.color ?? { mode: COLOURS[panel.type] ?? 'thresholds' };
  const custom = { ...CUSTOM[panel.type], ...defaults.custom };
  const paths = new Set(Object.keys(custom));
  for (const { properties } of overrides) {
    for (const { id } of properties) if (id.startsWith('custom.')) paths.add(id.slice('custom.'.length));
  }
  const made = applyFieldOverrides({
    data,
    fieldConfig: { defaults: { thresholds: { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }, { value: 80, color: 'red' }] }, mappings: [], ...defaults, color, custom }, overrides },
    fieldConfigRegistry: registry(paths),
    replaceVariables: replace,
    theme,
    timeZone: timezone,
    timeRange: range,
  }).map((frame) => ({ ...frame, fields: frame.fields.map((field) => ({ ...field, getLinks: links(field) })) }));
  // Colours by name need the names.
  cacheFieldDisplayNames(made);
  return made;
}

// A link is drawn as one; where it leads is of no matter in a picture.
const links = (field) => () => (field.config.links ?? []).map((link) => ({ href: '#', title: link.title ?? '', target: '_self', origin: field }));
