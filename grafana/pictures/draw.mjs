// Draws dashboards as PNG files: node draw.mjs [OPTIONS] DASHBOARD.json...
import { readFile, writeFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import puppeteer from 'puppeteer-core';
import { annotations, answers } from './queries/panels.mjs';
import { duration, moment } from './queries/time.mjs';
import { resolve, shown } from './queries/variables.mjs';

const USAGE = `node draw.mjs [OPTIONS] DASHBOARD.json...
  --prometheus URL   where Prometheus answers, without /api
  --ledger URL       Tollgate's admin port
  --out FILE|FOLDER  the picture, or the folder for several (default .)
  --from T --to T    the range: now-1h, an RFC 3339 time, milliseconds (default: the dashboard's own)
  --now T            what "now" is (default: the clock)
  --var NAME=VALUE   a variable's value; several values with commas; $__all for all
  --open             opens closed rows
  --rows TITLE,...   only what stands above the first row, and these rows
  --width PX         1600
  --scrape DURATION  how often Prometheus scrapes Tollgate (default 15s, as the provisioned data source says)
  --timezone ZONE    of the times shown (default UTC)`;

// What the page begins as.
const PAGE = '<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,">' +
  '<script>window.grafanaBootData = { settings: { featureToggles: {} }, user: {} }; window.__grafana_public_path__ = "/public/build/";</script>' +
  '</head><body><div id="page"></div></body></html>';

const here = dirname(fileURLToPath(import.meta.url));

const { values: options, positionals: files } = parseArgs({
  allowPositionals: true,
  options: {
    prometheus: { type: 'string', default: 'http://127.0.0.1:9090' },
    ledger: { type: 'string', default: 'http://127.0.0.1:8081' },
    out: { type: 'string', default: '.' },
    from: { type: 'string' },
    to: { type: 'string' },
    now: { type: 'string' },
    var: { type: 'string', multiple: true, default: [] },
    open: { type: 'boolean', default: false },
    rows: { type: 'string' },
    width: { type: 'string', default: '1600' },
    scrape: { type: 'string', default: '15s' },
    timezone: { type: 'string', default: 'UTC' },
    help: { type: 'boolean', default: false },
  },
});
if (options.help || !files.length) {
  console.log(USAGE);
  process.exit(files.length ? 0 : 64);
}

const chromium = process.env.CHROMIUM || ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
if (!chromium) throw new Error("chromium is missing: install Debian's package `chromium`, or say where one is: CHROMIUM=/path/to/it");

const program = await bundle();
const profile = await mkdtemp(join(tmpdir(), 'tollgate-pictures-'));
const browser = await puppeteer.launch({
  executablePath: chromium,
  userDataDir: profile,
  args: [
    '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--force-color-profile=srgb', '--font-render-hinting=none',
  ],
});
let failed = false;
try {
  for (const file of files) failed = (await draw(file)) || failed;
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;

/** The page's program and styles: Grafana's components and ours. Editors, which no picture has, are left out. */
async function bundle() {
  const editors = {
    name: 'editors',
    setup(steps) {
      steps.onResolve({ filter: /^(monaco-editor|@monaco-editor|@codemirror|@uiw|slate|ol)(\/|$)/ }, ({ path }) => ({ path, namespace: 'none' }));
      steps.onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: 'module.exports = {};' }));
    },
  };
  const result = await build({
    entryPoints: [join(here, 'page/main.jsx')],
    bundle: true,
    write: false,
    format: 'iife',
    jsx: 'automatic',
    plugins: [editors],
    define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
    logLevel: 'error',
    outdir: '.',
  });
  const [code, style] = ['.js', '.css'].map((end) => result.outputFiles.find((one) => one.path.endsWith(end)).text);
  return { code, style };
}

async function draw(file) {
  const dashboard = JSON.parse(await readFile(file, 'utf8'));
  const now = options.now ? moment(options.now, Date.now()) : Date.now();
  const range = { from: moment(options.from ?? dashboard.time.from, now), to: moment(options.to ?? dashboard.time.to, now) };
  const given = Object.fromEntries(options.var.map((one) => [one.slice(0, one.indexOf('=')), one.slice(one.indexOf('=') + 1)]));
  const sources = { prometheus: options.prometheus, ledger: options.ledger };
  const { timezone } = options;
  const variables = await resolve(dashboard, given, sources, range, timezone);
  const width = Number(options.width);
  dashboard.panels = chosen(laid(dashboard.panels));
  const context = { variables, sources, range, timezone, width, scrape: duration(options.scrape) };
  const input = {
    dashboard,
    range,
    timezone,
    panels: await answers(dashboard, context),
    marks: await annotations(dashboard, context),
    variables: [...variables.values()].map((one) => ({ name: one.name, label: one.label, hide: one.hide, shown: shown(one), value: one.value, type: one.type })),
  };
  const out = options.out.endsWith('.png') ? options.out : join(options.out, `${basename(file, '.json')}.png`);
  await mkdir(dirname(out), { recursive: true });
  const problems = await picture(input, width, out);
  for (const { panel, errors } of input.panels) problems.push(...errors.map((text) => `${panel.title}: ${text}`));
  console.log(`${out}: ${input.panels.length} panels${problems.length ? `, ${problems.length} problems` : ''}`);
  for (const problem of problems) console.log(`  ${problem}`);
  return problems.length > 0;
}

/** Panels at their places: those of opened rows are put in, and what is below moves down. */
function laid(panels) {
  const placed = [];
  let shift = 0;
  for (const panel of panels) {
    const moved = { ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + shift } };
    placed.push(moved);
    if (panel.type !== 'row' || !panel.collapsed || !options.open) continue;
    moved.collapsed = false;
    const inner = panel.panels ?? [];
    const top = Math.min(...inner.map((one) => one.gridPos.y));
    const bottom = Math.max(...inner.map((one) => one.gridPos.y + one.gridPos.h));
    for (const one of inner) placed.push({ ...one, gridPos: { ...one.gridPos, y: one.gridPos.y - top + moved.gridPos.y + 1 } });
    if (inner.length) shift += bottom - top;
  }
  return placed;
}

/** The panels above the first row and those of the rows that `--rows` names, moved together. */
function chosen(panels) {
  if (options.rows === undefined) return panels;
  const wanted = new Set(options.rows.split(','));
  const rows = panels.filter(({ type }) => type === 'row').sort((a, b) => a.gridPos.y - b.gridPos.y);
  for (const title of wanted) if (!rows.some((row) => row.title === title)) throw new Error(`there is no row ${title}`);
  let shift = 0;
  const kept = panels.filter(({ gridPos: { y } }) => y < (rows[0]?.gridPos.y ?? Infinity));
  rows.forEach((row, n) => {
    const [top, bottom] = [row.gridPos.y, rows[n + 1]?.gridPos.y ?? Infinity];
    const inside = panels.filter(({ gridPos: { y } }) => y >= top && y < bottom);
    if (wanted.has(row.title)) for (const one of inside) kept.push({ ...one, gridPos: { ...one.gridPos, y: one.gridPos.y - shift } });
    else shift += (bottom === Infinity ? 0 : bottom) - top;
  });
  return kept;
}

async function picture(input, width, out) {
  const page = await browser.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(`the page: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' && process.env.PICTURES_DEBUG) problems.push(`the page: ${message.text()}`);
  });
  await page.setViewport({ width, height: 1000 });
  await page.emulateTimezone(input.timezone);
  await page.setRequestInterception(true);
  page.on('request', (request) => serve(request));
  const data = JSON.stringify(input).replaceAll('<', '\\u003c');
  await page.goto('http://pictures.invalid/');
  await page.evaluate((text) => { window.input = JSON.parse(text); }, data);
  await page.addStyleTag({ content: program.style });
  await page.addScriptTag({ content: program.code });
  await page.waitForFunction('window.drawn === true', { timeout: 60_000 });
  problems.push(...(await page.evaluate('window.problems')));
  const height = await page.evaluate('document.getElementById("page").getBoundingClientRect().height');
  await page.setViewport({ width, height: Math.ceil(height) });
  await page.waitForNetworkIdle({ idleTime: 300 });
  await writeFile(out, await page.screenshot({ type: 'png', captureBeyondViewport: false }));
  await page.close();
  return problems;
}

/** The page has no network: fonts and Grafana's icons are all there is. */
async function serve(request) {
  const { pathname, hostname } = new URL(request.url());
  if (request.url().startsWith('data:')) return request.continue();
  if (hostname !== 'pictures.invalid') return request.abort();
  if (pathname === '/') return request.respond({ contentType: 'text/html', body: PAGE });
  const font = /\/fonts\/(inter|roboto)\/(.+)\.woff2$/.exec(pathname);
  if (font) {
    const family = font[1] === 'inter' ? 'inter' : 'roboto-mono';
    const style = `${font[2].includes('Medium') ? 500 : 400}-${font[2].includes('Italic') ? 'italic' : 'normal'}`;
    const body = await readFile(join(here, `node_modules/@fontsource/${family}/files/${family}-latin-${style}.woff2`));
    return request.respond({ contentType: 'font/woff2', headers: { 'access-control-allow-origin': '*' }, body });
  }
  const icon = /\/img\/(icons\/.+\.svg)$/.exec(pathname);
  const file = icon && join(here, 'node_modules/@grafana/ui/dist/public/img', icon[1]);
  if (file && existsSync(file)) return request.respond({ contentType: 'image/svg+xml', body: await readFile(file) });
  console.log(`  the page asks for ${pathname}, which is not there`);
  return request.respond({ status: 404, body: '' });
}
