//! What the ledger says, read as anybody would: from the database file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::eventually;

/// A ledger's database.
#[derive(Clone)]
pub(crate) struct Ledger {
    path: PathBuf,
}

/// The token columns of `requests`, without their ending.
pub(crate) const TOKEN_TYPES: [&str; 9] = [
    "input",
    "input_cached",
    "input_cache_write",
    "output",
    "reasoning",
    "input_audio",
    "output_audio",
    "input_image",
    "output_image",
];

impl Ledger {
    /// The database in that file.
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    fn open(&self) -> Option<Connection> {
        let connection =
            Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        connection
            .busy_timeout(std::time::Duration::from_secs(10))
            .ok()?;
        Some(connection)
    }

    /// The rows of any query.
    pub(crate) fn query(&self, sql: &str) -> Vec<Row> {
        let Some(connection) = self.open() else {
            return Vec::new();
        };
        let mut statement = match connection.prepare(sql) {
            Ok(statement) => statement,
            // Before the first migration there is nothing to read; any other fault is a fault.
            Err(error) if error.to_string().contains("no such table") => return Vec::new(),
            Err(error) => panic!("{sql}: {error}"),
        };
        let names = statement.column_names();
        let names: Vec<String> = names.map(str::to_owned).collect();
        let rows = statement.query_map([], |row| {
            let values = names.iter().enumerate();
            let values = values.map(|(at, name)| Ok((name.clone(), row.get(at)?)));
            values.collect::<rusqlite::Result<_>>().map(Row)
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// Every request, in order of arrival.
    pub(crate) fn requests(&self) -> Vec<Row> {
        self.query("SELECT * FROM requests ORDER BY id")
    }

    /// Waits until the request of that id is there, and returns its only row.
    pub(crate) fn request(&self, id: &str) -> Row {
        let sql = format!("SELECT * FROM requests WHERE id = '{id}'");
        let mut rows = eventually(&format!("request {id} is in the ledger"), || {
            Some(self.query(&sql)).filter(|rows| !rows.is_empty())
        });
        assert_eq!(rows.len(), 1, "{rows:#?}");
        rows.remove(0)
    }

    /// Waits until so many requests are there; more fail the test.
    pub(crate) fn exactly(&self, count: usize) -> Vec<Row> {
        let rows = eventually(&format!("{count} requests are in the ledger"), || {
            Some(self.requests()).filter(|rows| rows.len() >= count)
        });
        assert_eq!(rows.len(), count, "{rows:#?}");
        rows
    }

    /// Waits until the only request is there.
    pub(crate) fn only(&self) -> Row {
        self.exactly(1).remove(0)
    }

    /// What SQLite says of the file's soundness: `ok`.
    pub(crate) fn integrity(&self) -> String {
        let rows = self.query("PRAGMA integrity_check");
        let text = rows.iter().filter_map(|row| row.text("integrity_check"));
        text.collect::<Vec<_>>().join("; ")
    }
}

/// One row, by column name.
#[derive(Clone, Debug)]
pub(crate) struct Row(BTreeMap<String, Value>);

impl Row {
    fn value(&self, column: &str) -> &Value {
        self.0
            .get(column)
            .unwrap_or_else(|| panic!("no column {column} in {self:#?}"))
    }

    /// A text column; `None` is NULL.
    pub(crate) fn text(&self, column: &str) -> Option<&str> {
        match self.value(column) {
            Value::Null => None,
            Value::Text(text) => Some(text),
            other => panic!("{column} is no text: {other:?}"),
        }
    }

    /// An integer column; `None` is NULL.
    pub(crate) fn int(&self, column: &str) -> Option<i64> {
        match self.value(column) {
            Value::Null => None,
            Value::Integer(number) => Some(*number),
            other => panic!("{column} is no integer: {other:?}"),
        }
    }

    /// A column of JSON.
    pub(crate) fn json(&self, column: &str) -> serde_json::Value {
        self.text(column).map_or(serde_json::Value::Null, |text| {
            serde_json::from_str(text).unwrap()
        })
    }

    /// The token counts that are known, by type.
    pub(crate) fn tokens(&self) -> Vec<(&'static str, i64)> {
        let counts = TOKEN_TYPES.into_iter();
        counts
            .filter_map(|kind| Some((kind, self.int(&format!("{kind}_tokens"))?)))
            .collect()
    }

    /// Every column that is not NULL, by name, as text.
    pub(crate) fn stated(&self) -> Vec<(String, String)> {
        let text = |value: &Value| match value {
            Value::Null => None,
            Value::Integer(number) => Some(number.to_string()),
            Value::Real(number) => Some(number.to_string()),
            Value::Text(text) => Some(text.clone()),
            Value::Blob(bytes) => Some(format!("{bytes:?}")),
        };
        let columns = self.0.iter();
        columns
            .filter_map(|(name, value)| Some((name.clone(), text(value)?)))
            .collect()
    }

    /// How it ended.
    pub(crate) fn outcome(&self) -> &str {
        self.text("outcome").unwrap()
    }
}
