// Bar charts, which live in Grafana's core: values, units and colours are @grafana/data's.
import { FieldType, formattedValueToString, getFieldDisplayName } from '@grafana/data';
import { widthOf } from './axis.jsx';

export function BarsPanel({ data, options, panel, width, height, theme }) {
  const frame = data[0];
  const names = frame.fields.find((field) => (options.xField ? getFieldDisplayName(field, frame) === options.xField : field.type === FieldType.string)) ?? frame.fields[0];
  const series = frame.fields.filter((field) => field !== names && field.type === FieldType.number && !field.config.custom?.hideFrom?.viz);
  if (!series.length) return <div className="empty">{panel.fieldConfig?.defaults?.noValue ?? 'No data'}</div>;
  const stacked = options.stacking === 'normal' || options.stacking === 'percent';
  const legend = options.legend?.showLegend !== false ? 24 : 0;
  const rows = frame.length;
  const sum = (row) => series.reduce((total, field) => total + (field.values[row] ?? 0), 0);
  const value = (field, row) => (options.stacking === 'percent' && sum(row) ? field.values[row] / sum(row) : field.values[row]);
  const most = Math.max(...Array.from({ length: rows }, (_, row) => (stacked ? series.reduce((total, field) => total + (value(field, row) ?? 0), 0) : Math.max(...series.map((field) => field.values[row] ?? 0)))), 1e-12);
  const shown = (field, number) => (options.stacking === 'percent' ? `${Math.round(number * 100)}%` : formattedValueToString(field.display(number)));
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => ({ part, text: shown(series[0], part * most) }));
  const labels = names.values.map((name) => (names.display ? formattedValueToString(names.display(name)) : String(name)));
  const lying = options.orientation === 'horizontal';
  const widest = Math.max(...(lying ? labels : ticks.map(({ text }) => text)).map(widthOf));
  const left = widest + 10;
  const [inner, tall] = [width - left - (lying ? 30 : 8), height - 26 - legend];
  const step = (lying ? tall : inner) / rows;
  const group = step * (options.groupWidth ?? 0.7);
  const long = lying ? inner : tall - 8;
  const skip = lying ? 1 : Math.ceil(Math.max(...labels.map((text) => widthOf(text) + 8)) / step);
  const bars = labels.flatMap((_, row) => {
    let before = 0;
    return series.flatMap((field, n) => {
      const number = value(field, row);
      if (number === null || number === undefined) return [];
      const length = (number / most) * long;
      const begin = stacked ? before : 0;
      before += length;
      const across = stacked ? group : group / series.length;
      const side = row * step + (step - group) / 2 + (stacked ? 0 : n * across);
      const thick = Math.max(0.5, across * (options.barWidth ?? 0.97));
      const place = lying ? { x: left + begin, y: side, width: length, height: thick } : { x: left + side, y: tall - begin - length, width: thick, height: length };
      return [<rect key={`${row}.${n}`} {...place} fill={field.display(field.values[row]).color} fillOpacity={(field.config.custom?.fillOpacity ?? 80) / 100} />];
    });
  });
  return (
    <div className="chart">
      <svg width={width} height={height - legend}>
        {ticks.map(({ part, text }) => (lying ? (
          <g key={part}>
            <line x1={left + part * inner} x2={left + part * inner} y1={0} y2={tall} stroke={theme.colors.border.weak} />
            <text className="dim" x={left + part * inner} y={tall + 16} textAnchor="middle">{text}</text>
          </g>
        ) : (
          <g key={part}>
            <line x1={left} x2={left + inner} y1={tall - part * long} y2={tall - part * long} stroke={theme.colors.border.weak} />
            <text className="dim" x={left - 6} y={tall + 4 - part * long} textAnchor="end">{text}</text>
          </g>
        )))}
        {bars}
        {labels.map((text, row) => row % skip === 0 && (lying
          ? <text key={row} x={left - 6} y={(row + 0.5) * step + 4} textAnchor="end">{text}</text>
          : <text key={row} x={left + (row + 0.5) * step} y={tall + 16} textAnchor="middle">{text}</text>))}
      </svg>
      {legend > 0 && <div className="legend">{series.map((field, n) => <span key={n}><i style={{ background: field.display(field.values[0]).color }} />{getFieldDisplayName(field, frame)}</span>)}</div>}
    </div>
  );
}
