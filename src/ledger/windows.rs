//! What rules see of requests, summed by the minutes they ended and started in: the table
//! `window_minutely`, from which windows are rebuilt after a start.
//!
//! Gathered in memory for a batch and added in the transaction that inserts the batch's rows, as the
//! roll-ups of usage are. Its sums are those of [`Figures`], which is also what is counted in memory.
//! Beside the sums stand the distributions of durations, as bytes that SQLite has merged by a
//! function of ours: so adding to a group is one statement that looks for its place once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Transaction};

use super::query::{ReadError, StoredRequest, sampled};
use super::rows::{Binder, Row, stored};
use super::sums::{add, add_known, addition};
use crate::clock::UnixMicros;
use crate::record::{Api, Dimensions, Disposition, Figures, ModelNames, Sketch};

/// For how long the table is kept: the longest windows are months, compared with those of a year ago.
pub(super) const KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

/// The function that merges two distributions.
const MERGE: &str = "merge_sketches";

/// Rows of old ledgers that are summed up before they are written: bounds the memory of it.
const BACKFILL_ROWS: usize = 50_000;

/// What requests are summed by: the columns of the table's key. `""` stands for none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct WindowKey<S> {
    ended_minute: i64,
    started_minute: i64,
    channel: S,
    requested_model: S,
    served_model: S,
    api: Api,
    key: S,
}

impl<'a, S: From<&'a str>> WindowKey<S> {
    fn new(started_at: UnixMicros, figures: &Figures, of: &Dimensions<'a>) -> Self {
        Self {
            ended_minute: figures.ended_at.minute().0,
            started_minute: started_at.minute().0,
            channel: of.channel.into(),
            requested_model: of.model.asked.unwrap_or_default().into(),
            served_model: of.model.served.unwrap_or_default().into(),
            api: of.api,
            key: of.key.unwrap_or_default().into(),
        }
    }
}

/// Sums of one group. They stay at the end of their range instead of overflowing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    requests: i64,
    settled: i64,
    errors: i64,
    cost_nanousd: Option<i64>,
    tokens: Option<i64>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    latency_us: Sketch,
    ttft_us: Sketch,
    pace_milli: Sketch,
}

impl Sums {
    fn count(&mut self, figures: &Figures) {
        let count = if figures.settles {
            &mut self.settled
        } else {
            &mut self.requests
        };
        add(count, 1);
        add(&mut self.errors, i64::from(figures.error));
        add_known(&mut self.cost_nanousd, figures.cost_nanousd);
        add_known(&mut self.tokens, figures.tokens.map(stored));
        add_known(&mut self.input_tokens, figures.input_tokens.map(stored));
        add_known(&mut self.output_tokens, figures.output_tokens.map(stored));
        for (sketch, value) in [
            (&mut self.latency_us, figures.latency_us),
            (&mut self.ttft_us, figures.ttft_us),
            (&mut self.pace_milli, figures.pace_milli),
        ] {
            if let Some(value) = value {
                sketch.add(value);
            }
        }
    }
}

/// The sums of a batch.
#[derive(Debug)]
pub(super) struct Windows<S> {
    sums: HashMap<WindowKey<S>, Sums>,
}

impl<S> Default for Windows<S> {
    fn default() -> Self {
        Self {
            sums: HashMap::new(),
        }
    }
}

impl<'p> Windows<&'p str> {
    /// Counts a row in, where it is one for rules.
    pub(super) fn count_row(&mut self, row: Row<'_, 'p>) {
        let Some(figures) = row.figures() else {
            return;
        };
        let admission = row.admission();
        let dimensions = Dimensions {
            channel: admission.channel.unwrap_or_default(),
            api: admission.api,
            key: admission.key,
            model: ModelNames {
                asked: admission.requested_model,
                served: row.record().and_then(|record| record.served_model),
                ..ModelNames::default()
            },
            tags: None,
        };
        let key = WindowKey::new(admission.started_at, &figures, &dimensions);
        self.count(key, &figures);
    }
}

impl<S: AsRef<str> + Eq + Hash> Windows<S> {
    fn count(&mut self, key: WindowKey<S>, figures: &Figures) {
        self.sums.entry(key).or_default().count(figures);
    }

    /// Adds everything to the table. The connection knows [`register`]'s function.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.sums.is_empty() {
            return Ok(());
        }
        let mut statement = connection.prepare_cached(&UPSERT)?;
        for (key, sums) in &self.sums {
            let mut bind = Binder::new(&mut statement);
            bind.next(key.ended_minute)?;
            bind.next(key.started_minute)?;
            bind.next(key.channel.as_ref())?;
            bind.next(key.requested_model.as_ref())?;
            bind.next(key.served_model.as_ref())?;
            bind.next(key.api.as_str())?;
            bind.next(key.key.as_ref())?;
            bind.next(sums.requests)?;
            bind.next(sums.settled)?;
            bind.next(sums.errors)?;
            bind.next(sums.cost_nanousd)?;
            bind.next(sums.tokens)?;
            bind.next(sums.input_tokens)?;
            bind.next(sums.output_tokens)?;
            bind.next(sums.latency_us.encode())?;
            bind.next(sums.ttft_us.encode())?;
            bind.next(sums.pace_milli.encode())?;
            statement.raw_execute()?;
        }
        Ok(())
    }
}

/// Inserts a key or adds to it.
static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let mut updates = Vec::new();
    for (name, nullable) in [
        ("requests", false),
        ("settled", false),
        ("errors", false),
        ("cost_nanousd", true),
        ("total_tokens", true),
        ("input_tokens", true),
        ("output_tokens", true),
    ] {
        updates.push(addition(name, nullable));
    }
    for name in ["latency_us", "ttft_us", "pace_milli"] {
        updates.push(format!("{name} = {MERGE}({name}, excluded.{name})"));
    }
    let updates = updates.join(", ");
    let key = "ended_minute, started_minute, channel, requested_model, served_model, api, key";
    format!(
        "INSERT INTO window_minutely ({key}, requests, settled, errors, cost_nanousd, total_tokens, \
         input_tokens, output_tokens, latency_us, ttft_us, pace_milli) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT ({key}) DO UPDATE SET {updates}"
    )
});

/// Has a connection know what merges distributions.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_scalar_function(
        MERGE,
        2,
        FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_DETERMINISTIC
            | FunctionFlags::SQLITE_DIRECTONLY,
        |context| Ok(merge(context)),
    )
}

/// What is stored first, what is added second. Bytes that someone damaged must not keep the writer
/// from all that comes after them: they count as nothing.
fn merge(context: &Context<'_>) -> Vec<u8> {
    let mut merged = Sketch::default();
    for index in 0..context.len() {
        let sketch = match context.get_raw(index) {
            ValueRef::Blob(bytes) => Sketch::decode(bytes).ok(),
            _ => None,
        };
        match sketch {
            Some(sketch) if merged.count() == 0 => merged = sketch,
            Some(sketch) => merged.merge(&sketch),
            None => tracing::warn!("a damaged distribution in window_minutely begins anew"),
        }
    }
    merged.encode()
}

/// How much more (or less) the requests of a group cost that are counted already.
pub(super) type CostChanges = HashMap<WindowKey<String>, Option<i64>>;

/// Where a row in the database is counted; `None` when it is nothing for rules.
pub(super) fn key_of(row: &StoredRequest) -> Option<WindowKey<String>> {
    let cost = row.cost.as_ref().map(|cost| cost.amount);
    let figures = Figures::of(
        row.started_at,
        Disposition {
            outcome: row.outcome,
            billable: row.billable,
            deferral: row.deferral,
        },
        &row.usage.tokens,
        row.usage.total,
        &row.phases,
        cost.or(row.assumed_cost),
    )?;
    let dimensions = Dimensions {
        channel: row.channel.as_deref().unwrap_or_default(),
        api: row.api,
        key: row.key.as_deref(),
        model: ModelNames {
            asked: row.requested_model.as_deref(),
            served: row.served_model.as_deref(),
            ..ModelNames::default()
        },
        tags: None,
    };
    Some(WindowKey::new(row.started_at, &figures, &dimensions))
}

/// Brings the table up to date with rows whose cost changed, in the transaction that changed them. Of
/// rows that are older than [`KEPT`] there is nothing to bring.
pub(super) fn adjust_costs(connection: &Connection, changes: &CostChanges) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE window_minutely SET cost_nanousd = max(min(coalesce(cost_nanousd + ?1, \
         cost_nanousd, ?1), 9223372036854775807), -9223372036854775808) \
         WHERE ended_minute = ?2 AND started_minute = ?3 AND channel = ?4 \
         AND requested_model = ?5 AND served_model = ?6 AND api = ?7 AND key = ?8",
    )?;
    for (key, change) in changes {
        statement.execute((
            change,
            key.ended_minute,
            key.started_minute,
            &key.channel,
            &key.requested_model,
            &key.served_model,
            key.api.as_str(),
            &key.key,
        ))?;
    }
    Ok(())
}

/// Deletes the oldest minutes that are older than [`KEPT`], some more than `limit` groups of them, and
/// says how many groups.
pub(super) fn expire(
    connection: &Connection,
    now: UnixMicros,
    limit: u32,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM window_minutely WHERE ended_minute < ?1 AND ended_minute <= coalesce(\
             (SELECT ended_minute FROM window_minutely ORDER BY ended_minute LIMIT 1 OFFSET ?2), ?1)",
        )?
        .execute((now.minus(KEPT).0, limit))
}

/// Sums up the rows of a ledger from before there was the table.
pub(super) fn backfill(transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    let mut statement = transaction.prepare(&format!(
        "SELECT {} FROM requests ORDER BY started_at",
        sampled::columns(false)
    ))?;
    let mut rows = statement.query([])?;
    let mut windows: Windows<String> = Windows::default();
    let mut seen = 0_usize;
    while let Some(row) = rows.next()? {
        match sampled::read(row) {
            Ok(Some(row)) => {
                let key = WindowKey::new(row.started_at, &row.figures, &row.dimensions);
                windows.count(key, &row.figures);
            }
            Ok(None) => {}
            // No reason not to start: nobody can read it as a request either.
            Err(ReadError::Unreadable { column, value }) => {
                tracing::warn!(column, value, "a row that cannot be read is in no window");
            }
            Err(ReadError::Database(error)) => return Err(error),
        }
        seen += 1;
        if seen.is_multiple_of(BACKFILL_ROWS) {
            windows.write(transaction)?;
            windows = Windows::default();
        }
    }
    windows.write(transaction)
}
