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
  const left = Math.max(...ticks.map(({ text }) => widthOf(text))) + 10;
  const [inner, tall] = [width - left - 8, height - 26 - legend];
  const step = inner / rows;
  const group = step * (options.groupWidth ?? 0.7);
  const skip = Math.ceil(Math.max(...names.values.map((name) => widthOf(String(name)) + 8)) / step);
  return (
    <div className="chart">
      <svg width={width} height={height - legend}>
        {ticks.map(({ part, text }) => (
          <g key={part}>
            <line x1={left} x2={left + inner} y1={8 + (1 - part) * (tall - 8)} y2={8 + (1 - part) * (tall - 8)} stroke={theme.colors.border.weak} />
            <text className="dim" x={left - 6} y={12 + (1 - part) * (tall - 8)} textAnchor="end">{text}</text>
          </g>
        ))}
        {names.values.map((name, row) => {
          let below = 0;
          return (
            <g key={row}>
              {series.map((field, n) => {
                const number = value(field, row);
                if (number === null || number === undefined) return null;
                const high = (number / most) * (tall - 8);
                const y = tall - high - below;
                if (stacked) below += high;
                const thick = stacked ? group : group / series.length;
                return <rect key={n} x={left + row * step + (step - group) / 2 + (stacked ? 0 : n * thick)} y={y} width={Math.max(0.5, thick * (options.barWidth ?? 0.97))} height={high} fill={field.display(field.values[row]).color} fillOpacity={(field.config.custom?.fillOpacity ?? 80) / 100} />;
              })}
              {row % skip === 0 && <text x={left + (row + 0.5) * step} y={tall + 16} textAnchor="middle">{names.display ? formattedValueToString(names.display(name)) : String(name)}</text>}
            </g>
          );
        })}
      </svg>
      {legend > 0 && <div className="legend">{series.map((field, n) => <span key={n}><i style={{ background: field.display(field.values[0]).color }} />{getFieldDisplayName(field, frame)}</span>)}</div>}
    </div>
  );
}
