// Stat, gauge and bar gauge: values by @grafana/data, drawn (but for the gauge) by @grafana/ui, put together as in
// Grafana's core.
import { FieldType, VizOrientation, formattedValueToString, getDisplayValueAlignmentFactors, getFieldDisplayValues } from '@grafana/data';
import { BarGauge, BigValue, VizRepeater } from '@grafana/ui';

const NONE = { calcs: ['lastNotNull'], values: false };

function values({ data, options, panel, replace, theme, timezone }, more = {}) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  return getFieldDisplayValues({
    data, replaceVariables: replace, theme, timeZone: timezone, fieldConfig: { defaults, overrides },
    reduceOptions: { ...NONE, ...options.reduceOptions }, ...more,
  });
}

function Repeated({ props, render, least = {}, orientation, autoGrid, more }) {
  const { width, height, options, data } = props;
  return (
    <VizRepeater
      getValues={() => values(props, more)}
      getAlignmentFactors={(shown) => getDisplayValueAlignmentFactors(shown)}
      renderValue={render}
      width={width}
      height={height}
      source={data}
      renderCounter={0}
      autoGrid={autoGrid}
      orientation={orientation ?? options.orientation ?? VizOrientation.Auto}
      {...least}
    />
  );
}

const bounds = (field) => ({ ...field, min: field.min ?? 0, max: field.max ?? 100 });

export function StatPanel(props) {
  const { options, theme } = props;
  // A sparkline needs a time to run over.
  const spark = options.graphMode && options.graphMode !== 'none' && props.data.some((frame) => frame.fields.some((field) => field.type === FieldType.time));
  const more = { sparkline: Boolean(spark), percentChange: options.showPercentChange };
  const render = ({ value: { display, sparkline, field }, width, height, alignmentFactors, count }) => (
    <BigValue
      value={display}
      sparkline={sparkline}
      count={count}
      colorMode={options.colorMode ?? 'value'}
      graphMode={options.graphMode ?? 'area'}
      justifyMode={options.justifyMode ?? 'auto'}
      textMode={options.textMode ?? 'auto'}
      alignmentFactors={alignmentFactors}
      text={options.text}
      width={width}
      height={height}
      theme={theme}
      hasLinks={Boolean(field.links?.length)}
      percentChangeColorMode={options.percentChangeColorMode}
      disableWideLayout={options.wideLayout === false}
    />
  );
  return <Repeated props={props} render={render} autoGrid more={more} />;
}

/** The gauge of @grafana/ui needs a program that Grafana's core brings (flot), so its arc is drawn here. */
export function GaugePanel(props) {
  const { options, theme } = props;
  const render = ({ value: { field, display }, width, height }) => (
    <Dial display={display} field={bounds(field)} width={width} height={height} marks={options.showThresholdMarkers ?? true} theme={theme} />
  );
  return <Repeated props={props} render={render} autoGrid />;
}

function Dial({ display, field, width, height, marks, theme }) {
  const titled = display.title ? 22 : 0;
  const radius = Math.max(10, Math.min(width / 2.1, (height - titled) / 1.75));
  // The arc and its title in the middle of what is there.
  const top = Math.max(0, (height - titled - radius * 1.6) / 2);
  const [x, y] = [width / 2, top + radius * 1.02];
  const share = (value) => Math.max(0, Math.min(1, (value - field.min) / (field.max - field.min)));
  const thick = radius * 0.24;
  const steps = (field.thresholds?.steps ?? []).map(({ value, color }, n, all) => ({ from: Math.max(field.min, value), to: Math.min(field.max, all[n + 1]?.value ?? field.max), color }));
  const absolute = field.thresholds?.mode !== 'percentage';
  const text = formattedValueToString(display);
  return (
    <svg width={width} height={height}>
      <path d={band(x, y, radius - 8 - thick, radius - 8, 0, 1)} fill={theme.colors.background.secondary} />
      {Number.isFinite(display.numeric) && <path d={band(x, y, radius - 8 - thick, radius - 8, 0, share(display.numeric))} fill={display.color} />}
      {marks && absolute && steps.filter(({ from, to }) => to > from).map(({ from, to, color }) => (
        <path key={from} d={band(x, y, radius - 5, radius, share(from), share(to))} fill={theme.visualization.getColorByName(color)} />
      ))}
      <text x={x} y={y + radius * 0.12} textAnchor="middle" style={{ fill: display.color, fontSize: Math.min(radius * 0.42, (radius * 2.1) / Math.max(4, text.length)), fontWeight: 500 }}>{text}</text>
      {titled > 0 && <text x={x} y={Math.min(height - 5, y + radius * 0.62 + titled)} textAnchor="middle" style={{ fill: theme.colors.text.primary, fontSize: 13 }}>{display.title}</text>}
    </svg>
  );
}

/** A part of an arc that is open below: shares of it from `from` to `to`. */
function band(x, y, inner, outer, from, to) {
  const angle = (part) => (-0.7 + part * 1.4) * Math.PI * 0.9;
  const at = (part, radius) => `${x + Math.sin(angle(part)) * radius} ${y - Math.cos(angle(part)) * radius}`;
  const far = angle(to) - angle(from) > Math.PI ? 1 : 0;
  return `M ${at(from, outer)} A ${outer} ${outer} 0 ${far} 1 ${at(to, outer)} L ${at(to, inner)} A ${inner} ${inner} 0 ${far} 0 ${at(from, inner)} Z`;
}

export function BarGaugePanel(props) {
  const { options, theme } = props;
  const render = ({ value: { field, display, view, colIndex }, width, height, orientation, alignmentFactors, count }) => (
    <BarGauge
      value={display}
      width={width}
      height={height}
      orientation={orientation}
      field={bounds(field)}
      text={options.text}
      display={view?.getFieldDisplayProcessor(colIndex)}
      theme={theme}
      itemSpacing={count > 10 ? 4 : 8}
      displayMode={options.displayMode ?? 'gradient'}
      alignmentFactors={alignmentFactors}
      showUnfilled={options.showUnfilled ?? true}
      valueDisplayMode={options.valueMode ?? 'color'}
      namePlacement={options.namePlacement ?? 'auto'}
      isOverflow={false}
    />
  );
  return <Repeated props={props} render={render} least={{ minVizWidth: options.minVizWidth ?? 8, minVizHeight: options.minVizHeight ?? 16, maxVizHeight: options.maxVizHeight ?? 300, itemSpacing: 8 }} />;
}
