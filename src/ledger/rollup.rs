//! Roll-ups: sums by minute or hour, channel, model, API and key, by hour also by service tier.
//! Gathered in memory for a batch and added to `usage_minutely` and `usage_hourly` in the
//! transaction that inserts the batch's rows.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::hash::Hash;
use std::sync::LazyLock;

use rusqlite::{Connection, Transaction};

use super::rows::{Binder, Row};
use super::sums::{self, Sums};
use crate::clock::UnixMicros;
use crate::record::Api;

/// An hour of UTC, in microseconds.
pub(super) const HOUR_US: i64 = 3_600_000_000;

/// Roll-ups of an old ledger that are added up before they are written: bounds the memory of it.
const BACKFILL_ROWS: usize = 50_000;

/// A table of roll-ups.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    name: &'static str,
    /// The column of the time.
    time: &'static str,
    /// How long such a time is, in microseconds.
    length: i64,
    /// Whether its key ends with the tier.
    tiered: bool,
}

static MINUTELY: Table = Table {
    name: "usage_minutely",
    time: "minute",
    length: 60_000_000,
    tiered: false,
};

static HOURLY: Table = Table {
    name: "usage_hourly",
    time: "hour",
    length: HOUR_US,
    tiered: true,
};

impl Table {
    /// The columns of its key.
    fn key(&self) -> String {
        let tier = if self.tiered { ", tier" } else { "" };
        format!("{}, channel, model, api, key{tier}", self.time)
    }

    /// Inserts a key or adds to it.
    fn upsert(&self) -> String {
        let key = self.key();
        let mut names = key.clone();
        let mut updates = String::new();
        for (name, nullable) in sums::written_columns() {
            let _infallible = write!(names, ", {name}");
            let separator = if updates.is_empty() { "" } else { ", " };
            let _infallible = write!(updates, "{separator}{}", sums::addition(&name, nullable));
        }
        format!(
            "INSERT INTO {} ({names}) VALUES (?{}) ON CONFLICT ({key}) DO UPDATE SET {updates}",
            self.name,
            ", ?".repeat(names.matches(',').count())
        )
    }

    /// Changes what the requests of a key cost.
    fn adjustment(&self) -> String {
        let tier = if self.tiered { " AND tier = ?9" } else { "" };
        format!(
            "UPDATE {} SET unpriced_requests = unpriced_requests - ?1, \
             cost_nanousd = max(min(coalesce(cost_nanousd + ?2, cost_nanousd, ?2), \
             9223372036854775807), -9223372036854775808), \
             estimated_cost_nanousd = max(min(coalesce(estimated_cost_nanousd + ?3, \
             estimated_cost_nanousd, ?3), 9223372036854775807), -9223372036854775808) \
             WHERE {} = ?4 AND channel = ?5 AND model = ?6 AND api = ?7 AND key = ?8{tier}",
            self.name, self.time
        )
    }

    /// The time that a minute lies in.
    const fn floor(&self, minute: i64) -> i64 {
        minute.saturating_sub(minute.rem_euclid(self.length))
    }

    fn add<S: AsRef<str>>(
        &self,
        connection: &Connection,
        upsert: &str,
        sums: &HashMap<Group<S>, Sums>,
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(upsert)?;
        for (group, sums) in sums {
            let mut bind = Binder::new(&mut statement);
            bind.next(group.time)?;
            bind.next(group.channel.as_ref())?;
            bind.next(group.model.as_ref())?;
            bind.next(group.api.as_str())?;
            bind.next(group.key.as_ref())?;
            if self.tiered {
                bind.next(group.tier.as_ref())?;
            }
            sums.bind(&mut bind)?;
            statement.raw_execute()?;
        }
        Ok(())
    }
}

/// What requests are summed by. `""` stands for none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group<S> {
    time: i64,
    channel: S,
    model: S,
    api: Api,
    key: S,
    tier: S,
}

/// The roll-ups of a batch.
#[derive(Debug, Default)]
pub(super) struct Rollups<'p> {
    /// By minute and tier, so that both tables are made of it.
    sums: HashMap<Group<&'p str>, Sums>,
}

impl<'p> Rollups<'p> {
    /// Counts a row in.
    pub(super) fn count(&mut self, row: Row<'_, 'p>) {
        let admission = row.admission();
        let served = row.record().and_then(|record| record.served_model);
        let tier = row.record().and_then(|record| record.service_tier);
        let group = Group {
            time: admission.started_at.minute().0,
            channel: admission.channel.unwrap_or_default(),
            model: served.or(admission.requested_model).unwrap_or_default(),
            api: admission.api,
            key: admission.key.unwrap_or_default(),
            tier: tier.unwrap_or_default(),
        };
        self.sums.entry(group).or_default().count_row(row);
    }

    /// Adds everything to the tables.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.sums.is_empty() {
            return Ok(());
        }
        MINUTELY.add(connection, &MINUTELY_UPSERT, &self.sums)?;
        let mut hours: HashMap<Group<&str>, Sums> = HashMap::new();
        for (group, sums) in &self.sums {
            let hour = Group {
                time: HOURLY.floor(group.time),
                ..group.clone()
            };
            hours.entry(hour).or_default().merge(sums);
        }
        HOURLY.add(connection, &HOURLY_UPSERT, &hours)
    }
}

/// Adds the minutes of a ledger from before there were hours up. Their tiers are not known.
pub(super) fn backfill_hours(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare(&format!(
        "SELECT {}, {} FROM usage_minutely ORDER BY minute",
        MINUTELY.key(),
        sums::read_columns()
    ))?;
    let mut rows = statement.query([])?;
    let mut hours: HashMap<Group<String>, Sums> = HashMap::new();
    let mut seen = 0_usize;
    while let Some(row) = rows.next()? {
        seen += 1;
        let api: String = row.get(3)?;
        let Ok(api) = api.parse() else {
            // No reason not to start: nobody can read it in its minute either.
            tracing::warn!(api, "a roll-up that cannot be read is in no hour");
            continue;
        };
        let hour = Group {
            time: HOURLY.floor(row.get(0)?),
            channel: row.get(1)?,
            model: row.get(2)?,
            api,
            key: row.get(4)?,
            tier: String::new(),
        };
        let mut columns = 5..;
        let sums = Sums::read(|| columns.next().map_or(Ok(None), |column| row.get(column)))?;
        hours.entry(hour).or_default().merge(&sums);
        if seen.is_multiple_of(BACKFILL_ROWS) {
            HOURLY.add(transaction, &HOURLY_UPSERT, &hours)?;
            hours.clear();
        }
    }
    HOURLY.add(transaction, &HOURLY_UPSERT, &hours)
}

/// The roll-ups that a row in the database is counted in: the columns of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RollupKey {
    pub(super) minute: i64,
    pub(super) channel: String,
    pub(super) model: String,
    pub(super) api: Api,
    pub(super) key: String,
    /// `""` also where the row is older than the hours, whose tiers are not known then.
    pub(super) tier: String,
}

/// How the costs of requests changed that are counted already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CostChange {
    /// New less old; `None` when no cost changed.
    pub(super) cost_nanousd: Option<i64>,
    /// The same of what Tollgate's own counts beside a missing usage would cost.
    pub(super) estimated_nanousd: Option<i64>,
    /// Requests that had no cost and have one now.
    pub(super) newly_priced: i64,
}

/// The requests are there and the roll-up they are counted in is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct MissingRollup {
    table: &'static Table,
    key: Box<RollupKey>,
}

impl fmt::Display for MissingRollup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, key } = self;
        let time = table.time;
        write!(
            f,
            "{} has no row of the {time} {}, channel {:?}, model {:?}, API {}, key {:?}, although \
             requests has rows of it: the database was changed by something else. Put a copy from \
             before in its place, or leave that {time} out with --until and --since",
            table.name,
            UnixMicros(table.floor(key.minute)).timestamp(),
            key.channel,
            key.model,
            key.api,
            key.key
        )
    }
}

/// Why roll-ups were not brought up to date.
#[derive(Debug)]
pub(super) enum AdjustError {
    Missing(MissingRollup),
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for AdjustError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// The number of the last row whose tier the hours do not know: it was there before them.
pub(super) fn tiers_known_after(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row(
        "SELECT value FROM meta WHERE name = 'tiers_known_after'",
        [],
        |row| row.get(0),
    )
}

/// Brings roll-ups up to date with rows whose cost changed, in the transaction that changed them.
/// Fails where a row's roll-up is not there: then the two do not agree, and nothing may be changed.
pub(super) fn adjust_costs(
    connection: &Connection,
    changes: &HashMap<RollupKey, CostChange>,
) -> Result<(), AdjustError> {
    for table in [&MINUTELY, &HOURLY] {
        let mut statement = connection.prepare_cached(&table.adjustment())?;
        for (group, change) in changes {
            let at = table.floor(group.minute);
            let mut bind = Binder::new(&mut statement);
            bind.next(change.newly_priced)?;
            bind.next(change.cost_nanousd)?;
            bind.next(change.estimated_nanousd)?;
            bind.next(at)?;
            bind.next(&group.channel)?;
            bind.next(&group.model)?;
            bind.next(group.api.as_str())?;
            bind.next(&group.key)?;
            if table.tiered {
                bind.next(&group.tier)?;
            }
            if statement.raw_execute()? != 1 {
                return Err(AdjustError::Missing(MissingRollup {
                    table,
                    key: Box::new(group.clone()),
                }));
            }
        }
    }
    Ok(())
}

static MINUTELY_UPSERT: LazyLock<String> = LazyLock::new(|| MINUTELY.upsert());

static HOURLY_UPSERT: LazyLock<String> = LazyLock::new(|| HOURLY.upsert());
