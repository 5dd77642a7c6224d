// State timelines and status histories, which live in Grafana's core: texts and colours are @grafana/data's.
import { FieldType, formattedValueToString, getFieldDisplayName } from '@grafana/data';
import { TimeAxis, widthOf } from './axis.jsx';

export function StatesPanel({ data, options, panel, width, height, answer, theme, timezone }) {
  const { from, to } = answer.range;
  const rows = data.flatMap((frame) => {
    const time = frame.fields.find((field) => field.type === FieldType.time);
    if (!time) return [];
    return frame.fields.filter((field) => field !== time && !field.config.custom?.hideFrom?.viz)
      .map((field) => ({ name: getFieldDisplayName(field, frame, data), field, spans: spans(time, field, panel.type === 'state-timeline' && options.mergeValues !== false, to) }));
  });
  if (!rows.length) return <div className="empty">{panel.fieldConfig?.defaults?.noValue ?? 'No data'}</div>;
  const shown = new Map();
  for (const { field, spans: all } of rows) {
    for (const { value } of all) {
      const display = field.display(value);
      const text = formattedValueToString(display);
      if (!shown.has(text)) shown.set(text, display.color);
    }
  }
  const legend = options.legend?.showLegend !== false ? 24 : 0;
  const left = Math.min(width * 0.4, Math.max(...rows.map(({ name }) => widthOf(name))) + 12);
  const [inner, tall] = [width - left - 8, height - 22 - legend];
  const step = tall / rows.length;
  const thick = step * (options.rowHeight ?? 0.9);
  const x = (at) => left + ((Math.max(from, Math.min(to, at)) - from) / (to - from)) * inner;
  return (
    <div className="chart">
      <svg width={width} height={height - legend}>
        {rows.map(({ name, field, spans: all }, n) => (
          <g key={n}>
            <text x={left - 8} y={n * step + step / 2 + 4} textAnchor="end">{cut(name, left - 10)}</text>
            {all.map(({ begin, end, value }, at) => {
              const display = field.display(value);
              const text = formattedValueToString(display);
              const [x1, x2] = [x(begin), x(end)];
              if (x2 <= x1) return null;
              const fits = options.showValue !== 'never' && widthOf(text) < x2 - x1 - 6 && thick > 13;
              return (
                <g key={at}>
                  <rect x={x1} y={n * step + (step - thick) / 2} width={x2 - x1} height={thick} fill={display.color} fillOpacity={(field.config.custom?.fillOpacity ?? 70) / 100} />
                  {fits && <text x={(x1 + x2) / 2} y={n * step + step / 2 + 4} textAnchor="middle" style={{ fill: theme.colors.getContrastText(display.color, 0) }}>{text}</text>}
                </g>
              );
            })}
          </g>
        ))}
        <TimeAxis range={answer.range} left={left} top={tall} width={inner} timezone={timezone} />
      </svg>
      {legend > 0 && (
        <div className="legend">{[...shown].map(([text, color]) => <span key={text}><i style={{ background: color }} />{text}</span>)}</div>
      )}
    </div>
  );
}

/** From each value to the next; equal ones that touch are one. A null ends a span, a missing point does not. */
function spans(time, field, merged, to) {
  const found = [];
  const interval = time.config.interval;
  field.values.forEach((value, n) => {
    const begin = time.values[n];
    const last = found.at(-1);
    if (last && last.end === undefined) {
      if (merged && value === last.value) return;
      last.end = begin;
    }
    if (value !== null && value !== undefined) found.push({ begin, value });
  });
  const last = found.at(-1);
  if (last && last.end === undefined) last.end = interval ? Math.min(to, time.values.at(-1) + interval) : to;
  return found;
}

function cut(text, width) {
  if (widthOf(text) <= width) return text;
  let kept = text;
  while (kept && widthOf(`${kept}…`) > width) kept = kept.slice(0, -1);
  return `${kept}…`;
}
