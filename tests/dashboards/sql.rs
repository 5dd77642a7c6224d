//! The logs that read the ledger's tables: every query runs on a real ledger, whatever a reader chooses, and on PostgreSQL
//! with that ledger's rows.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value, json};

use crate::boards::{self, Board, POSTGRES, SQLITE, list, text};
use crate::chosen::{CHOICES, EVERYTHING, Filling};
use crate::stack::Stack;

/// The tables that the logs read.
const TABLES: &[&str] = &["requests", "attempts", "usage_minutely"];

/// All that is wrong.
pub(crate) fn check(stack: &Stack, boards: &[Board]) -> Vec<String> {
    let ledger = Connection::open_with_flags(
        stack.tollgate.data_dir().join("tollgate.db"),
        OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .unwrap();
    let ids = stack.requests();
    let mut wrong = Vec::new();
    for board in boards {
        let everything = Filling::new(board, EVERYTHING, &ids[0]);
        for target in board.targets(SQLITE) {
            let template = text(&target.json["queryText"]);
            let sql = everything.fill(template, "sqlstring");
            match run(&ledger, &sql) {
                Ok((columns, rows)) => {
                    let overrides = list(&target.panel.json["fieldConfig"]["overrides"]).iter();
                    let named = overrides.filter(|one| one["matcher"]["id"] == "byName");
                    for name in named.map(|one| text(&one["matcher"]["options"])) {
                        let is_made = !list(&target.panel.json["transformations"]).is_empty();
                        if !is_made && !columns.iter().any(|column| column == name) {
                            wrong.push(format!("{}: no column `{name}`", target.place()));
                        }
                    }
                    if rows == 0 {
                        wrong.push(format!("{}: no rows: {sql}", target.place()));
                    }
                }
                Err(error) => wrong.push(format!("{}: {error}: {sql}", target.place())),
            }
            for &choice in CHOICES {
                let sql = Filling::new(board, choice, &ids[0]).fill(template, "sqlstring");
                let place = format!("{}, {}", target.place(), choice.name);
                match run(&ledger, &sql) {
                    Ok((_, 0)) => wrong.push(format!("{place}: no rows: {sql}")),
                    Ok(_) => {}
                    Err(error) => wrong.push(format!("{place}: {error}: {sql}")),
                }
            }
        }
        for variable in board.variables() {
            let is_sql = variable["datasource"]["type"] == SQLITE;
            if is_sql && variable["type"] == "query" {
                let sql = everything.fill(text(&variable["query"]), "sqlstring");
                if !run(&ledger, &sql).is_ok_and(|(_, rows)| rows > 0) {
                    wrong.push(format!("{} ${}: {sql}", board.uid, variable["name"]));
                }
            }
        }
        if !board.targets(POSTGRES).is_empty() {
            wrong.extend(on_postgres(board, &ledger));
        }
    }
    wrong
}

/// The names of the columns, and how many rows there are.
fn run(ledger: &Connection, sql: &str) -> Result<(Vec<String>, usize), String> {
    let mut statement = ledger.prepare(sql).map_err(|error| error.to_string())?;
    let columns = statement.column_names();
    let columns = columns.map(str::to_owned);
    let columns = columns.collect();
    let mut rows = statement.query([]).map_err(|error| error.to_string())?;
    let mut count = 0;
    while rows.next().map_err(|error| error.to_string())?.is_some() {
        count += 1;
    }
    Ok((columns, count))
}

/// PostgreSQL itself judges, with the rows of this ledger.
fn on_postgres(board: &Board, ledger: &Connection) -> Option<String> {
    let tables: Map<String, Value> = TABLES
        .iter()
        .map(|table| ((*table).to_owned(), rows_of(ledger, table)))
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut process = Command::new(std::env::var_os("TOLLGATE_TEST_NODE").unwrap())
        .arg(folder.join("tests/dashboards/postgres.mjs"))
        .arg(Path::new(boards::FOLDER).join(format!("{}.json", board.uid)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    input
        .write_all(Value::Object(tables).to_string().as_bytes())
        .unwrap();
    drop(input);
    let output = process.wait_with_output().unwrap();
    (!output.status.success())
        .then(|| format!("{}: {}", board.uid, String::from_utf8_lossy(&output.stderr)))
}

fn rows_of(ledger: &Connection, table: &str) -> Value {
    let mut columns = ledger
        .prepare(&format!(
            "SELECT name, type FROM pragma_table_info('{table}')"
        ))
        .unwrap();
    let columns: Vec<(String, String)> = columns
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut statement = ledger.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let rows: Vec<Value> = statement
        .query_map([], |row| {
            let value = |at| {
                Ok(match row.get_ref(at)? {
                    ValueRef::Integer(number) => json!(number),
                    ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
                    ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => Value::Null,
                })
            };
            (0..columns.len()).map(value).collect()
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    json!({"columns": columns, "rows": rows})
}
