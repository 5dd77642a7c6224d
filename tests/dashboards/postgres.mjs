// Runs every query of a dashboard for PostgreSQL, its variables' queries too, on PostgreSQL itself (PGlite) with rows of
// a real ledger. Each runs with everything chosen, with one value chosen of each variable, and with each order.
//
//     node postgres.mjs DASHBOARD.json < TABLES.json
//
// TABLES.json: {"requests": {"columns": [["id", "TEXT"], …], "rows": [["01a1…", …], …]}, "attempts": …, …}, the types as
// SQLite has them. On standard output: {"variables": [{"name", "values"}], "panels": [{"title", "choice",
// "columns", "rows"}]}, `columns` with their PostgreSQL types, `rows` a number. Where a query fails: which one and why on
// standard error, and exit code 1.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const load = createRequire(join(process.env.TOLLGATE_TEST_NODE_MODULES, "package.json"));
const { PGlite } = load("@electric-sql/pglite");

const dashboard = JSON.parse(readFileSync(process.argv[2], "utf8"));
const tables = JSON.parse(readFileSync(0, "utf8"));
const TYPES = { INTEGER: "bigint", TEXT: "text", REAL: "double precision" };
// The range of the dashboard: around all rows.
const MARGIN_MS = 60_000;

function fail(message) {
  console.error(message);
  process.exit(1);
}

const database = await PGlite.create();
for (const [name, { columns, rows }] of Object.entries(tables)) {
  const typed = columns.map(([column, type]) => {
    const stands = TYPES[type] ?? fail(`${name}.${column}: no PostgreSQL type stands for ${type}`);
    return `"${column}" ${stands}`;
  });
  await database.exec(`CREATE TABLE "${name}" (${typed.join(", ")})`);
  const places = columns.map((_, index) => `$${index + 1}`).join(", ");
  for (const row of rows) await database.query(`INSERT INTO "${name}" VALUES (${places})`, row);
}

function table(name) {
  const { columns, rows } = tables[name] ?? fail(`the table ${name} is not given`);
  return rows.map((row) => Object.fromEntries(columns.map(([column], index) => [column, row[index]])));
}
const requests = table("requests");
if (requests.length === 0) fail("the table requests has no rows: nothing would be checked");
const starts = requests.map((request) => Math.floor(request.started_at / 1_000));
const range = { __from: String(Math.min(...starts) - MARGIN_MS), __to: String(Math.max(...starts) + MARGIN_MS) };

// As Grafana formats a value with `:sqlstring`. What stands for all is put there as it is.
const quoted = (value) => `'${value.replaceAll("'", "''")}'`;

function fill(sql, where, chosen) {
  return sql.replace(/\$\{(\w+)(?::(\w+))?\}|\$(\w+)/g, (found, name, format) => {
    if (range[name] !== undefined && !format) return range[name];
    const choice = chosen[name] ?? fail(`${where}: nothing is chosen for ${found}`);
    if (choice.all) return choice.all;
    if (format !== "sqlstring") fail(`${where}: ${found} is put into SQL without quotes; write \${${name}:sqlstring}`);
    return choice.values.map(quoted).join(",");
  });
}

async function ask(filled, where, choice) {
  try {
    return await database.query(filled, [], { rowMode: "array" });
  } catch (error) {
    return fail(`${where}, ${choice}: ${error.message}\n${filled}`);
  }
}

// What everything, and what one value of each variable is.
const listed = dashboard.templating.list.filter((variable) => variable.type !== "datasource");
const everything = {};
for (const variable of listed) {
  if (variable.includeAll) everything[variable.name] = { all: variable.allValue };
  else if (variable.type === "textbox") everything[variable.name] = { values: [""] };
  else everything[variable.name] = { values: [variable.current.value] };
}
const one = { ...everything };
const example = requests.find((request) => request.outcome !== "ok") ?? requests[0];
const own = { ...example, model: example.served_model ?? example.requested_model };
const variables = [];
for (const variable of listed) {
  const { name } = variable;
  if (variable.type === "query") {
    const answer = await ask(fill(variable.query, `variable ${name}`, everything), `variable ${name}`, "everything");
    const values = answer.rows.map(([value]) => value);
    if (answer.fields.length !== 1) fail(`variable ${name}: one column is needed, not ${answer.fields.length}`);
    if (values.length === 0) fail(`variable ${name}: no values, though there are requests`);
    one[name] = { values: [values.includes(own[name]) ? own[name] : values[0]] };
    variables.push({ name, values });
  } else if (variable.includeAll) {
    one[name] = { values: [String(own[name])] };
  } else if (variable.type === "textbox") {
    one[name] = { values: [String(own[name] ?? "")] };
  }
}

const choices = { everything, one };
for (const variable of listed) {
  if (variable.type !== "custom" || variable.includeAll) continue;
  for (const option of variable.query.split(",")) {
    const value = option.split(":").pop().trim();
    choices[`${variable.name} ${value}`] = { ...everything, [variable.name]: { values: [value] } };
  }
}
if (everything.outcome) choices.failed = { ...everything, outcome: { values: ["failed"] } };

const types = new Map();
for (const { oid, typname } of (await database.query("SELECT oid, typname FROM pg_type")).rows) types.set(oid, typname);
const panels = [];
for (const panel of dashboard.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])])) {
  for (const target of panel.targets ?? []) {
    if (target.datasource.type !== "grafana-postgresql-datasource") fail(`${panel.title}: ${target.datasource.type}`);
    const asked = new Set();
    for (const [choice, chosen] of Object.entries(choices)) {
      const filled = fill(target.rawSql, panel.title, chosen);
      // A choice that this panel does not ask about.
      if (asked.has(filled)) continue;
      asked.add(filled);
      const answer = await ask(filled, panel.title, choice);
      const columns = answer.fields.map(({ name, dataTypeID }) => ({ name, type: types.get(dataTypeID) }));
      panels.push({ title: panel.title, choice, columns, rows: answer.rows.length });
    }
  }
}
if (panels.length === 0) fail("the dashboard asks nothing");
console.log(JSON.stringify({ variables, panels }));
process.exit(0);
