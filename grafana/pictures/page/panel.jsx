// A panel: Grafana's frame around what its type draws.
import { PanelChrome } from '@grafana/ui';
import { Component } from 'react';
import { BarGaugePanel, GaugePanel, StatPanel } from './numbers.jsx';
import { TablePanel } from './table.jsx';
import { TimeSeriesPanel } from './timeseries.jsx';
import { HeatmapPanel } from './heatmap.jsx';
import { StatesPanel } from './states.jsx';
import { PiePanel } from './pie.jsx';
import { BarsPanel } from './bars.jsx';
import { TextPanel } from './text.jsx';

const TYPES = {
  stat: StatPanel,
  gauge: GaugePanel,
  bargauge: BarGaugePanel,
  table: TablePanel,
  timeseries: TimeSeriesPanel,
  heatmap: HeatmapPanel,
  'state-timeline': StatesPanel,
  'status-history': StatesPanel,
  piechart: PiePanel,
  barchart: BarsPanel,
  text: TextPanel,
};
// These say themselves what is missing, as Grafana's do.
const SAY_EMPTY = new Set(['text', 'stat', 'gauge', 'bargauge']);

export function Panel({ answer, size, context }) {
  const { panel, errors, data } = answer;
  return (
    <PanelChrome
      width={size.width}
      height={size.height}
      title={context.titled(panel.title ?? '')}
      description={panel.description || undefined}
      displayMode={panel.transparent ? 'transparent' : 'default'}
      padding={panel.type === 'table' ? 'none' : 'md'}
      statusMessage={errors.length ? errors.join('\n') : undefined}
    >
      {(width, height) => <Inside answer={answer} data={data} width={width} height={height} context={context} />}
    </PanelChrome>
  );
}

function Inside({ answer, data, width, height, context }) {
  const { panel, errors } = answer;
  const Type = TYPES[panel.type];
  if (errors.length) return <div className="error">{errors.join('\n')}</div>;
  if (!Type) return <div className="empty">Panels of the type “{panel.type}” are not drawn in pictures.</div>;
  const rows = data.some((frame) => frame.length > 0 && frame.fields.length > 0);
  if (!rows && !SAY_EMPTY.has(panel.type)) {
    return <div className="empty">{panel.fieldConfig?.defaults?.noValue ?? 'No data'}</div>;
  }
  return (
    <Guard title={panel.title}>
      <Type answer={answer} panel={panel} options={panel.options ?? {}} data={data} width={width} height={height} {...context} />
    </Guard>
  );
}

/** A panel that cannot be drawn says so in its place, and in the command's output. */
class Guard extends Component {
  state = {};

  static getDerivedStateFromError(error) {
    return { error };
  }

  componentDidCatch(error) {
    window.problems.push(`${this.props.title}: ${error.stack}`);
  }

  render() {
    return this.state.error ? <div className="error">{this.state.error.message}</div> : this.props.children;
  }
}
