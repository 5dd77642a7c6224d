// Grafana's transformation "Prepare time series" to many frames, which lives in its core: rows with a time, texts and
// numbers become one series for each combination of the texts.
import { FieldType } from '@grafana/data';
import { map } from 'rxjs';

export const timeSeriesFrames = (options) => (source) => source.pipe(map((frames) => {
  if (options.format !== 'multi') throw new Error(`prepareTimeSeries with the format ${options.format} is not drawn`);
  return frames.flatMap(separate);
}));

function separate(frame) {
  const time = frame.fields.find((field) => field.type === FieldType.time);
  const numbers = frame.fields.filter((field) => field.type === FieldType.number);
  const texts = frame.fields.filter((field) => [FieldType.string, FieldType.boolean].includes(field.type));
  if (!time || !numbers.length) return [];
  return numbers.flatMap((number) => {
    const series = new Map();
    for (let row = 0; row < frame.length; row += 1) {
      const labels = Object.fromEntries(texts.map((field) => [field.name, String(field.values[row])]));
      const key = JSON.stringify(labels);
      if (!series.has(key)) series.set(key, { labels: { ...number.labels, ...labels }, times: [], values: [] });
      series.get(key).times.push(time.values[row]);
      series.get(key).values.push(number.values[row]);
    }
    return [...series.values()].map(({ labels, times, values }) => ({
      name: frame.name,
      refId: frame.refId,
      meta: { ...frame.meta, type: 'timeseries-multi' },
      fields: [{ ...time, values: times }, { ...number, values, labels }],
      length: times.length,
    }));
  });
}
