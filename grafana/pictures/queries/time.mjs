// Grafana's ways to write a point in time and a duration, and the intervals that follow from a range.

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, M: 2_592_000_000, y: 31_536_000_000 };

/** Milliseconds of a duration as Grafana writes it: `30s`, `1h`, `1m30s`. */
export function duration(text) {
  let sum = 0;
  for (const [, number, unit] of String(text).matchAll(/(\d+(?:\.\d+)?)(ms|[smhdwMy])/g)) sum += Number(number) * UNITS[unit];
  if (!sum) throw new Error(`not a duration: ${text}`);
  return sum;
}

/** Milliseconds since 1970 of `now`, `now-6h`, `now/d`, a number of milliseconds or an RFC 3339 time. */
export function moment(text, now) {
  if (/^\d+$/.test(String(text))) return Number(text);
  const relative = /^now(?:([+-])(\d+[smhdwMy]+))?(?:\/([hdwMy]))?$/.exec(text);
  if (!relative) {
    const time = Date.parse(text);
    if (Number.isNaN(time)) throw new Error(`not a time: ${text}`);
    return time;
  }
  const [, sign, distance, round] = relative;
  const date = new Date(now + (distance ? (sign === '-' ? -1 : 1) * duration(distance) : 0));
  if (round) date.setUTCMilliseconds(0);
  if (round) date.setUTCMinutes(0, 0);
  if (round && round !== 'h') date.setUTCHours(0);
  if (round === 'w') date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7));
  if (round === 'M' || round === 'y') date.setUTCDate(1);
  if (round === 'y') date.setUTCMonth(0);
  return date.getTime();
}

// Grafana's table of rounding (rangeUtil.roundInterval): up to the first, the second.
const ROUNDED = [
  [10, 1], [15, 10], [35, 20], [75, 50], [150, 100], [350, 200], [750, 500], [1500, 1000], [3500, 2000], [7500, 5000],
  [12_500, 10_000], [17_500, 15_000], [25_000, 20_000], [45_000, 30_000], [90_000, 60_000], [210_000, 120_000],
  [450_000, 300_000], [750_000, 600_000], [1_050_000, 900_000], [1_500_000, 1_200_000], [2_700_000, 1_800_000],
  [5_400_000, 3_600_000], [9_000_000, 7_200_000], [16_200_000, 10_800_000], [32_400_000, 21_600_000],
  [86_400_000, 43_200_000], [604_800_000, 86_400_000], [1_814_400_000, 604_800_000], [3_628_800_000, 2_592_000_000],
];

/** A panel's `$__interval` in milliseconds: the range over its points, rounded, no shorter than `least`. */
export function interval(range, points, least) {
  const exact = (range.to - range.from) / points;
  const rounded = ROUNDED.find(([limit]) => exact < limit)?.[1] ?? 31_536_000_000;
  return Math.max(rounded, least);
}

/** An interval as Grafana writes it in the place of `$__interval`. */
export function written(ms) {
  for (const unit of ['d', 'h', 'm', 's']) if (ms >= UNITS[unit] && ms % UNITS[unit] === 0) return `${ms / UNITS[unit]}${unit}`;
  return `${ms}ms`;
}
