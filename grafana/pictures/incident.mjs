// The pictures of the demo's incident: node incident.mjs OUT demo.json. The demo runs it at the moments that its
// timetable calls pictures; pictures.json says which dashboards are drawn then.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const here = dirname(fileURLToPath(import.meta.url));
const [out, file] = process.argv.slice(2);
const demo = JSON.parse(await readFile(file, 'utf8'));
const pictures = JSON.parse(await readFile(join(here, 'pictures.json'), 'utf8'));

// A little of what was before belongs to the picture.
const BEFORE = 2 * 60;
const { at, name } = demo.pictures.at(-1);
let failed = 0;
for (const picture of pictures.filter((one) => one.at === name)) {
  const dashboard = join(here, '../dashboards', `${picture.dashboard}.json`);
  const target = join(out, `${picture.file}.png`);
  if (!existsSync(dashboard)) {
    console.log(`${picture.dashboard} does not exist`);
    failed += 1;
    continue;
  }
  const given = ['--prometheus', demo.prometheus, '--ledger', demo.ledger, '--out', target, '--scrape', '5s', '--now', String(Math.round(at * 1000))];
  given.push('--from', picture.from ?? String(Math.round((demo.from - BEFORE) * 1000)), '--to', 'now');
  given.push('--var', 'datasource=Prometheus', '--var', 'ledger=Tollgate ledger');
  if (picture.rows !== undefined) given.push('--rows', picture.rows);
  if (picture.request) given.push('--var', `id=${await first(picture.request)}`);
  try {
    const { stdout } = await run(process.execPath, [join(here, 'draw.mjs'), ...given, dashboard]);
    process.stdout.write(stdout);
    await shrink(target);
  } catch (error) {
    failed += 1;
    process.stdout.write(`${error.stdout ?? ''}${error.stderr ?? error.message}\n`);
    // A picture with a panel that failed is none to keep.
    await rm(target, { force: true });
  }
}
process.exitCode = failed ? 1 : 0;

/** The id of the first request of the incident that the log shows for a filter. */
async function first(filter) {
  const answer = await fetch(`${demo.ledger}/api/v1/requests?limit=1&since=${new Date(demo.from * 1000).toISOString()}&${filter}`);
  return (await answer.json()).requests[0].id;
}

/** 256 colours are enough for these pictures. */
async function shrink(target) {
  await run('pngquant', ['--force', '--speed', '1', '--strip', '--output', `${target}.small`, '256', target]);
  await rm(target);
  await rename(`${target}.small`, target);
}
