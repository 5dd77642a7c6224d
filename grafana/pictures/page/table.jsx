// Tables: @grafana/ui's own. A panel shows one frame; of several the first, as Grafana does until a reader chooses.
import { TableNG } from '@grafana/ui/unstable';
import { dateTime } from '@grafana/data';

export function TablePanel({ data, options, panel, width, height, answer }) {
  const frame = data[options.frameIndex ?? 0] ?? data[0];
  const range = { from: dateTime(answer.range.from), to: dateTime(answer.range.to), raw: {} };
  return (
    <TableNG
      data={frame}
      width={width}
      height={height}
      noHeader={options.showHeader === false}
      initialSortBy={options.sortBy}
      cellHeight={options.cellHeight}
      enablePagination={options.enablePagination ?? options.footer?.enablePagination}
      frozenColumns={options.frozenColumns?.left}
      timeRange={range}
      fieldConfig={panel.fieldConfig}
      structureRev={1}
      enableVirtualization={false}
      onSortByChange={() => {}}
      onColumnResize={() => {}}
    />
  );
}
