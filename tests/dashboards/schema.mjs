// Holds dashboards against Grafana's schema package: the types of a dashboard, and for each panel those of its
// plugin's options and field configuration, and of Prometheus' queries. TypeScript's compiler is the judge, so a
// member that is misspelt or that no panel knows is an error.
//
//     node schema.mjs FOLDER-OF-DASHBOARDS FOLDER-TO-WORK-IN
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [dashboards, folder] = process.argv.slice(2);
const modules = process.env.TOLLGATE_TEST_NODE_MODULES;
const ts = createRequire(join(modules, "package.json"))("typescript");

const PANELS = {
  bargauge: "BarGauge",
  barchart: "BarChart",
  gauge: "Gauge",
  heatmap: "Heatmap",
  logs: "Logs",
  piechart: "PieChart",
  stat: "Stat",
  "state-timeline": "StateTimeline",
  table: "Table",
  text: "Text",
  timeseries: "TimeSeries",
};
// What has field configuration of its own.
const CONFIGURED = ["barchart", "heatmap", "piechart", "state-timeline", "timeseries"];

const RAW = "@grafana/schema/dist/esm/raw";
const lines = [
  // Enums of strings accept no literals; what JSON holds is literals.
  "type Plain<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T",
  "  : T extends (infer U)[] ? Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;",
  "type Some<T> = { [K in keyof T]?: T[K] extends object | undefined ? Some<T[K]> : T[K] };",
  `import type { Dashboard, Panel, RowPanel } from '${RAW}/dashboard/x/Dashboard_types.gen';`,
  `import type { TableFieldOptions, GraphFieldConfig } from '@grafana/schema';`,
  // The package does not ship the types of Prometheus' queries; these are the members Grafana documents.
  "type PrometheusQuery = { refId: string; expr: string; datasource: { type: 'prometheus'; uid: string };",
  "  instant?: boolean; range?: boolean; legendFormat?: string; format?: 'table' | 'time_series' | 'heatmap';",
  "  interval?: string; exemplar?: boolean; hide?: boolean };",
];
const named = (type) => PANELS[type] ?? fail(`no schema is known for panels of type ${type}`);
for (const [type, name] of Object.entries(PANELS)) {
  const what = CONFIGURED.includes(type) ? `Options as ${name}Options, FieldConfig as ${name}Config` : `Options as ${name}Options`;
  lines.push(`import type { ${what} } from '${RAW}/composable/${type.replace("-", "")}/panelcfg/x/${name}PanelCfg_types.gen';`);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

// Each part gets a name that leads back to it.
function check(where, type, value) {
  const name = where.replace(/[^A-Za-z0-9]+/g, "_");
  lines.push(`export const ${name}_${lines.length}: ${type} = ${JSON.stringify(value)};`);
}

let count = 0;
for (const file of readdirSync(dashboards).sort()) {
  const dashboard = JSON.parse(readFileSync(join(dashboards, file), "utf8"));
  const { panels, ...frame } = dashboard;
  for (const annotation of frame.annotations?.list ?? []) {
    // Members that belong to the plugin; the schema has only what all annotations share.
    if (annotation.datasource.type === "prometheus") for (const own of ["expr", "step", "titleFormat", "textFormat"]) delete annotation[own];
  }
  check(file, "Plain<Omit<Dashboard, 'panels'>>", frame);
  const all = panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
  for (const panel of all) {
    const where = `${file} ${panel.title}`;
    count += 1;
    if (panel.type === "row") {
      check(where, "Plain<Omit<RowPanel, 'panels'>>", (({ panels: _, ...row }) => row)(panel));
      continue;
    }
    const { options, fieldConfig, targets = [], ...rest } = panel;
    const name = named(panel.type);
    check(where, "Plain<Omit<Panel, 'options' | 'fieldConfig' | 'targets'>>", rest);
    check(`${where} options`, `Plain<Some<${name}Options>>`, options ?? {});
    if (fieldConfig) {
      const { custom, ...defaults } = fieldConfig.defaults;
      check(`${where} defaults`, "Plain<NonNullable<Panel['fieldConfig']>['defaults']>", defaults);
      check(`${where} overrides`, "Plain<NonNullable<Panel['fieldConfig']>['overrides']>", fieldConfig.overrides);
      const config = CONFIGURED.includes(panel.type) ? `${name}Config` : panel.type === "table" ? "TableFieldOptions" : "{}";
      check(`${where} custom`, `Plain<Some<${config}>>`, custom ?? {});
    }
    for (const target of targets) {
      if (target.datasource.type === "prometheus") check(`${where} query`, "PrometheusQuery", target);
    }
  }
}
if (count < 20) fail(`only ${count} panels in ${dashboards}`);

const source = join(folder, "dashboards.ts");
writeFileSync(source, lines.join("\n"));
symlinkSync(modules, join(folder, "node_modules"));
const program = ts.createProgram([source], {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  target: ts.ScriptTarget.ES2022,
});
const found = ts.getPreEmitDiagnostics(program);
for (const diagnostic of found) {
  const text = ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n");
  const at = diagnostic.file?.getLineAndCharacterOfPosition(diagnostic.start).line;
  const name = at === undefined ? "" : lines[at]?.match(/const (\w+)/)?.[1];
  console.error(`${name ?? at}: ${text}\n`);
}
console.log(`${count} panels`);
process.exit(found.length === 0 ? 0 : 1);
