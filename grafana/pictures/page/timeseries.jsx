// Charts over time: @grafana/ui's own (uPlot), with the lines of annotations.
import { FieldColorModeId, FieldType, dateTime, getFieldSeriesColor } from '@grafana/data';
import { TimeSeries } from '@grafana/ui';
import { useLayoutEffect } from 'react';

export function TimeSeriesPanel({ data, options, panel, answer, width, height, theme, timezone, marks }) {
  const frames = data.map((frame) => drawable(frame, theme)).filter(Boolean);
  if (!frames.length) return <div className="empty">{panel.fieldConfig?.defaults?.noValue ?? 'No data'}</div>;
  const { from, to } = answer.range;
  const legend = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [], ...options.legend };
  return (
    <TimeSeries
      frames={frames}
      structureRev={1}
      timeRange={{ from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } }}
      timeZone={timezone}
      width={width}
      height={height}
      legend={legend}
      options={options}
      theme={theme}
    >
      {(config) => <Marks config={config} marks={marks} theme={theme} />}
    </TimeSeries>
  );
}

/** Times and numbers; what is a word or hidden has no line. */
function drawable(frame, theme) {
  if (!frame.fields.some((field) => field.type === FieldType.time)) return null;
  const fields = frame.fields.flatMap((field) => {
    if (field.type === FieldType.time) return [field];
    if (field.type === FieldType.boolean) return [{ ...field, type: FieldType.number, values: field.values.map((value) => (value === null ? null : Number(value))) }];
    if (field.type !== FieldType.number) return [];
    // A canvas has no infinity.
    const values = field.values.map((value) => (Number.isFinite(value) ? value : null));
    // The chart forgets names when it joins its frames, and with them colours by name.
    const named = field.config.color?.mode === FieldColorModeId.PaletteClassicByName;
    const color = named ? { mode: FieldColorModeId.Fixed, fixedColor: getFieldSeriesColor(field, theme).color } : field.config.color;
    return [{ ...field, values, config: { ...field.config, color } }];
  });
  return fields.some((field) => field.type === FieldType.number) ? { ...frame, fields } : null;
}

function Marks({ config, marks, theme }) {
  useLayoutEffect(() => {
    config.addHook('draw', (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.setLineDash([5, 5]);
      ctx.lineWidth = 1;
      for (const { time, color } of marks) {
        const x = Math.round(plot.valToPos(time, 'x', true)) + 0.5;
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(color);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.beginPath();
        ctx.moveTo(x - 4, bbox.top + bbox.height + 5);
        ctx.lineTo(x + 4, bbox.top + bbox.height + 5);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.fill();
      }
      ctx.restore();
    });
  }, [config, marks, theme]);
  return null;
}
