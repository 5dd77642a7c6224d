// The time axis under drawings of ours.
import { dateTimeFormat } from '@grafana/data';

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800].map((s) => s * 1000);

export function TimeAxis({ range, left, top, width, timezone }) {
  const step = STEPS.find((one) => ((range.to - range.from) / one) * 75 < width) ?? STEPS.at(-1);
  const format = step < 60_000 ? 'HH:mm:ss' : step < 86_400_000 ? 'HH:mm' : 'MM/DD';
  const ticks = [];
  for (let at = Math.ceil(range.from / step) * step; at <= range.to; at += step) ticks.push(at);
  const x = (at) => left + ((at - range.from) / (range.to - range.from)) * width;
  return ticks.map((at) => (
    <text key={at} x={x(at)} y={top + 14} textAnchor="middle">{dateTimeFormat(at, { timeZone: timezone, format })}</text>
  ));
}

/** How many pixels a text of 12 px needs. */
const canvas = document.createElement('canvas').getContext('2d');
export function widthOf(text) {
  canvas.font = '12px Inter, Helvetica, Arial, sans-serif';
  return canvas.measureText(text).width;
}
