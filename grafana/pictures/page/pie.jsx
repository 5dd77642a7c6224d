// Pie charts, which live in Grafana's core: values, units and colours are @grafana/data's.
import { FieldColorModeId, formattedValueToString, getFieldDisplayValues } from '@grafana/data';

export function PiePanel({ data, options, panel, width, height, replace, theme, timezone }) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const color = defaults.color ?? { mode: FieldColorModeId.PaletteClassic };
  const all = getFieldDisplayValues({
    data, replaceVariables: replace, theme, timeZone: timezone, fieldConfig: { defaults: { ...defaults, color }, overrides },
    reduceOptions: { calcs: ['lastNotNull'], values: false, ...options.reduceOptions },
  }).filter(({ display, field }) => display.numeric > 0 && !field.custom?.hideFrom?.viz);
  if (!all.length) return <div className="empty">{defaults.noValue ?? 'No data'}</div>;
  all.sort((a, b) => (options.sort === 'asc' ? 1 : options.sort === 'none' ? 0 : -1) * (a.display.numeric - b.display.numeric));
  const total = all.reduce((sum, { display }) => sum + display.numeric, 0);
  const legend = options.legend?.showLegend !== false;
  const beside = legend && options.legend?.placement === 'right';
  const size = Math.min(beside ? width * 0.48 : width, beside || !legend ? height : height - 60);
  const percent = (share) => `${(share * 100).toFixed(share * 100 >= 10 ? 0 : 1)}%`;
  const values = options.legend?.values ?? [];
  const cells = ({ display }) => [
    ...(values.includes('percent') ? [percent(display.numeric / total)] : []),
    ...(values.includes('value') ? [formattedValueToString(display)] : []),
  ];
  let angle = 0;
  const slices = all.map(({ display }) => {
    const begin = angle;
    angle += (display.numeric / total) * 2 * Math.PI;
    return { begin, end: angle, color: display.color };
  });
  return (
    <div className="chart" style={{ display: 'flex', flexDirection: beside ? 'row' : 'column', gap: 12 }}>
      <svg width={size} height={size} viewBox="-1.04 -1.04 2.08 2.08" style={{ flex: 'none', alignSelf: 'center' }}>
        {slices.map(({ begin, end, color: fill }, n) => <path key={n} d={slice(begin, end, options.pieType === 'donut' ? 0.66 : 0)} fill={fill} stroke={theme.colors.background.primary} strokeWidth="0.012" />)}
      </svg>
      {legend && (
        <div className="legend table" style={{ '--columns': values.length, flex: 1, minWidth: 0, overflow: 'hidden' }}>
          {all.map((one, n) => [
            <span key={n} className="name"><i style={{ background: one.display.color }} />{one.display.title}</span>,
            ...cells(one).map((text, at) => <span key={`${n}.${at}`} className="value">{text}</span>),
          ])}
        </div>
      )}
    </div>
  );
}

function slice(begin, end, inner) {
  // A whole circle is no arc: its end is its beginning.
  const until = Math.min(end, begin + 2 * Math.PI - 1e-4);
  const at = (angle, radius) => `${Math.sin(angle) * radius} ${-Math.cos(angle) * radius}`;
  const far = until - begin > Math.PI ? 1 : 0;
  const back = inner ? `L ${at(until, inner)} A ${inner} ${inner} 0 ${far} 0 ${at(begin, inner)}` : 'L 0 0';
  return `M ${at(begin, 1)} A 1 1 0 ${far} 1 ${at(until, 1)} ${back} Z`;
}
