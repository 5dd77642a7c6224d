// Heatmaps, which live in Grafana's core: buckets over time, drawn here with @grafana/data's units and d3's schemes.
import { FieldType, formattedValueToString, getFieldDisplayName, getValueFormat } from '@grafana/data';
import * as chromatic from 'd3-scale-chromatic';
import { TimeAxis, widthOf } from './axis.jsx';

// Schemes that Grafana turns round on dark ground, so that little is dark.
const TURNED = new Set(['Blues', 'Greens', 'Greys', 'Oranges', 'Purples', 'Reds', 'BuGn', 'BuPu', 'GnBu', 'OrRd', 'PuBuGn', 'PuBu', 'PuRd', 'RdPu', 'YlGnBu', 'YlGn', 'YlOrBr', 'YlOrRd']);

export function HeatmapPanel({ data, options, width, height, answer, timezone, theme }) {
  if (options.calculate) throw new Error('a heatmap that calculates its own buckets is not drawn');
  const frame = data[0];
  const time = frame.fields.find((field) => field.type === FieldType.time);
  const rows = frame.fields.filter((field) => field.type === FieldType.number);
  const [least, most] = [options.filterValues?.le ?? 1e-9, options.filterValues?.ge ?? Infinity];
  const seen = (value) => Number.isFinite(value) && value > least && value < most;
  const values = rows.flatMap((row) => row.values.filter(seen));
  if (!values.length) return <div className="empty">{rows[0]?.config.noValue ?? 'No data'}</div>;
  const low = options.color?.min ?? Math.min(...values);
  const high = options.color?.max ?? Math.max(...values);
  const fill = colours(options.color ?? {}, theme);
  const format = (name) => {
    const unit = options.yAxis?.unit;
    if (!unit || Number.isNaN(Number(name))) return name === '+Inf' ? '∞' : name;
    return formattedValueToString(getValueFormat(unit)(Number(name), options.yAxis?.decimals));
  };
  const names = rows.map((row) => format(getFieldDisplayName(row, frame, data)));
  const left = Math.max(...names.map(widthOf)) + 10;
  const legend = options.legend?.show !== false ? 30 : 0;
  const [inner, tall] = [width - left - 8, height - 24 - legend];
  const tile = tall / rows.length;
  const { from, to } = answer.range;
  const x = (at) => left + ((at - from) / (to - from)) * inner;
  const wide = time.values.length > 1 ? ((time.values[1] - time.values[0]) / (to - from)) * inner : inner;
  // Where columns are thinner than gaps are wide there would be more gap than column.
  const gap = wide > 4 ? options.cellGap ?? 1 : 0;
  const bounds = rows.some((row) => row.labels?.le !== undefined);
  const skip = Math.ceil(16 / tile);
  const { unit, decimals } = options.cellValues ?? {};
  const cell = unit ? (value) => getValueFormat(unit)(value, decimals) : rows[0].display;
  const level = (value) => (high > low ? (value - low) / (high - low) : 1);
  return (
    <div className="chart">
      <svg width={width} height={height}>
        {rows.map((row, n) => {
          const top = tall - (n + 1) * tile;
          return (
            <g key={n}>
              {/* `le` names a bucket's upper end, so its name stands at the top of it. */}
              {n % skip === 0 && <text className="dim" x={left - 6} y={bounds ? top + 4 : top + tile / 2 + 4} textAnchor="end">{names[n]}</text>}
              {row.values.map((value, at) => seen(value) && time.values[at] < to && time.values[at] >= from && (
                <rect key={at} x={x(time.values[at])} y={top} width={Math.max(0.5, Math.min(wide - gap + (gap ? 0 : 0.3), left + inner - x(time.values[at])))} height={Math.max(0.5, tile - gap)} fill={fill(level(value))} />
              ))}
            </g>
          );
        })}
        <TimeAxis range={answer.range} left={left} top={tall} width={inner} timezone={timezone} />
        {legend > 0 && <Scale left={left} top={tall + 30} fill={fill} low={low} high={high} cell={cell} />}
      </svg>
    </div>
  );
}

function colours({ mode = 'scheme', scheme = 'Oranges', steps = 64, reverse, fill = 'dark-orange', exponent = 0.5 }, theme) {
  if (mode === 'opacity') {
    const color = theme.visualization.getColorByName(fill);
    return (level) => `color-mix(in srgb, ${color} ${Math.round(level ** exponent * 100)}%, transparent)`;
  }
  const interpolate = chromatic[`interpolate${scheme}`];
  if (!interpolate) throw new Error(`the colour scheme ${scheme} is not drawn`);
  const turned = TURNED.has(scheme) !== Boolean(reverse);
  return (level) => {
    const t = Math.min(steps - 1, Math.floor(level * steps)) / (steps - 1);
    return interpolate(turned ? 1 - t : t);
  };
}

function Scale({ left, top, fill, low, high, cell }) {
  const shown = (value) => formattedValueToString(cell(value));
  const from = shown(low);
  const at = left + widthOf(from) + 8;
  return (
    <>
      <text x={left} y={top + 9}>{from}</text>
      {Array.from({ length: 60 }, (_, n) => <rect key={n} x={at + n * 3} y={top} width="3" height="10" fill={fill(n / 59)} />)}
      <text x={at + 188} y={top + 9}>{shown(high)}</text>
    </>
  );
}
