//! Roll-ups: sums by minute, channel, model, API and key, gathered in memory for a batch and added
//! to `usage_minutely` in the transaction that inserts the batch's rows.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::LazyLock;

use rusqlite::Connection;

use super::rows::{Binder, Row, stored};
use crate::clock::UnixMicros;
use crate::record::{Api, Outcome, Phase, TokenType, Unit, UsageSource, is_unpriced};

/// Whether a failure with this outcome bills nothing: it reached no provider, or was turned away.
/// Of the others a provider may have made something before they failed.
#[must_use]
pub(super) const fn is_unbilled(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Blocked
        | Outcome::Refused
        | Outcome::NoChannel
        | Outcome::ConnectError
        | Outcome::RateLimited
        | Outcome::QuotaExhausted => true,
        Outcome::Ok
        | Outcome::UpstreamError
        | Outcome::Timeout
        | Outcome::ClientClosed
        | Outcome::Interrupted
        | Outcome::Internal => false,
    }
}

/// What requests are summed by. `""` stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Group<'p> {
    minute: i64,
    channel: &'p str,
    model: &'p str,
    api: Api,
    key: &'p str,
}

/// Sums of one group. They stay at the end of their range instead of overflowing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    outcomes: [i64; Outcome::ALL.len()],
    unpriced: i64,
    missing_usage: i64,
    partial: i64,
    estimated: i64,
    tokens: [Option<i64>; TokenType::ALL.len()],
    total_tokens: Option<i64>,
    cost: Option<i64>,
    total_us_sum: i64,
    total_us_count: i64,
    first_token_us_sum: i64,
    first_token_us_count: i64,
    request_bytes: i64,
    response_bytes: i64,
    units: [Option<i64>; Unit::ALL.len()],
    estimated_cost: Option<i64>,
}

/// Adds what is known to a sum of what is known.
pub(super) fn add_known(sum: &mut Option<i64>, value: Option<i64>) {
    if let Some(value) = value {
        *sum = Some(sum.unwrap_or(0).saturating_add(value));
    }
}

/// Adds to a plain sum.
pub(super) fn add(sum: &mut i64, value: i64) {
    *sum = sum.saturating_add(value);
}

impl Sums {
    fn count(&mut self, row: Row<'_, '_>) {
        add(&mut self.outcomes[row.outcome() as usize], 1);
        let cost = row.record().and_then(|record| record.cost.as_ref());
        let source = row.usage_source();
        add(
            &mut self.unpriced,
            i64::from(is_unpriced(source, cost.is_some())),
        );
        for (sum, counted) in [
            (&mut self.missing_usage, UsageSource::Missing),
            (&mut self.partial, UsageSource::Partial),
            (&mut self.estimated, UsageSource::Estimated),
        ] {
            add(sum, i64::from(source == counted));
        }
        add(
            &mut self.request_bytes,
            stored(row.admission().request_bytes),
        );
        let Some(record) = row.record() else {
            return;
        };
        for &kind in TokenType::ALL {
            add_known(
                &mut self.tokens[kind as usize],
                record.usage.tokens[kind].map(stored),
            );
        }
        add_known(&mut self.total_tokens, record.usage.total.map(stored));
        add_known(&mut self.cost, cost.map(|cost| cost.amount.0));
        if let Some(us) = record.phases[Phase::Total] {
            add(&mut self.total_us_sum, stored(us));
            add(&mut self.total_us_count, 1);
        }
        if let Some(us) = record.phases[Phase::FirstToken] {
            add(&mut self.first_token_us_sum, stored(us));
            add(&mut self.first_token_us_count, 1);
        }
        add(&mut self.response_bytes, stored(record.response_bytes));
        for &unit in Unit::ALL {
            add_known(
                &mut self.units[unit as usize],
                record.usage.units[unit].map(stored),
            );
        }
        let estimated_cost = record.estimate.and_then(|estimate| estimate.cost);
        add_known(&mut self.estimated_cost, estimated_cost.map(|cost| cost.0));
    }
}

/// The roll-ups of a batch.
#[derive(Debug, Default)]
pub(super) struct Rollups<'p> {
    sums: HashMap<Group<'p>, Sums>,
}

impl<'p> Rollups<'p> {
    /// Counts a row in.
    pub(super) fn count(&mut self, row: Row<'_, 'p>) {
        let admission = row.admission();
        let served = row.record().and_then(|record| record.served_model);
        let group = Group {
            minute: admission.started_at.minute().0,
            channel: admission.channel.unwrap_or_default(),
            model: served.or(admission.requested_model).unwrap_or_default(),
            api: admission.api,
            key: admission.key.unwrap_or_default(),
        };
        self.sums.entry(group).or_default().count(row);
    }

    /// Adds everything to the table.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.sums.is_empty() {
            return Ok(());
        }
        let mut statement = connection.prepare_cached(&UPSERT)?;
        for (group, sums) in &self.sums {
            let mut bind = Binder::new(&mut statement);
            bind.next(group.minute)?;
            bind.next(group.channel)?;
            bind.next(group.model)?;
            bind.next(group.api.as_str())?;
            bind.next(group.key)?;
            let total: i64 = sums.outcomes.iter().sum();
            let errors = Outcome::ALL
                .iter()
                .filter(|&&outcome| outcome.is_error())
                .map(|&outcome| sums.outcomes[outcome as usize])
                .sum::<i64>();
            bind.next(total)?;
            bind.next(errors)?;
            for count in sums.outcomes {
                bind.next(count)?;
            }
            bind.next(sums.unpriced)?;
            bind.next(sums.missing_usage)?;
            bind.next(sums.partial)?;
            bind.next(sums.estimated)?;
            for count in sums.tokens {
                bind.next(count)?;
            }
            bind.next(sums.total_tokens)?;
            bind.next(sums.cost)?;
            bind.next(sums.total_us_sum)?;
            bind.next(sums.total_us_count)?;
            bind.next(sums.first_token_us_sum)?;
            bind.next(sums.first_token_us_count)?;
            bind.next(sums.request_bytes)?;
            bind.next(sums.response_bytes)?;
            for count in sums.units {
                bind.next(count)?;
            }
            bind.next(sums.estimated_cost)?;
            statement.raw_execute()?;
        }
        Ok(())
    }
}

/// The roll-up that a row in the database is counted in: the columns of its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RollupKey {
    pub(super) minute: i64,
    pub(super) channel: String,
    pub(super) model: String,
    pub(super) api: Api,
    pub(super) key: String,
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
#[error(
    "usage_minutely has no row of the minute {}, channel {:?}, model {:?}, API {}, key {:?}, although \
     requests has rows of it: the database was changed by something else. Put a copy from before \
     in its place, or leave that minute out with --until and --since",
    UnixMicros(.0.minute).timestamp(), .0.channel, .0.model, .0.api, .0.key
)]
pub struct MissingRollup(RollupKey);

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

/// Brings roll-ups up to date with rows whose cost changed, in the transaction that changed them.
/// Fails where a row's roll-up is not there: then the two do not agree, and nothing may be changed.
pub(super) fn adjust_costs(
    connection: &Connection,
    changes: &HashMap<RollupKey, CostChange>,
) -> Result<(), AdjustError> {
    let mut statement = connection.prepare_cached(
        "UPDATE usage_minutely SET unpriced_requests = unpriced_requests - ?1, \
         cost_nanousd = max(min(coalesce(cost_nanousd + ?2, cost_nanousd, ?2), \
         9223372036854775807), -9223372036854775808), \
         estimated_cost_nanousd = max(min(coalesce(estimated_cost_nanousd + ?3, \
         estimated_cost_nanousd, ?3), 9223372036854775807), -9223372036854775808) \
         WHERE minute = ?4 AND channel = ?5 AND model = ?6 AND api = ?7 AND key = ?8",
    )?;
    for (group, change) in changes {
        let updated = statement.execute((
            change.newly_priced,
            change.cost_nanousd,
            change.estimated_nanousd,
            group.minute,
            &group.channel,
            &group.model,
            group.api.as_str(),
            &group.key,
        ))?;
        if updated != 1 {
            return Err(AdjustError::Missing(MissingRollup(group.clone())));
        }
    }
    Ok(())
}

/// The SQL that adds to a column of sums in an upsert. An addition that overflows is a float in
/// SQLite, which a STRICT column refuses; `min` and `max` bring it back to the end of the range.
pub(super) fn addition(name: &str, nullable: bool) -> String {
    let sum = if nullable {
        format!("coalesce({name} + excluded.{name}, {name}, excluded.{name})")
    } else {
        format!("{name} + excluded.{name}")
    };
    format!("{name} = max(min({sum}, 9223372036854775807), -9223372036854775808)")
}

/// The columns of sums, in the order [`Rollups::write`] binds them, each with whether it may be
/// NULL.
fn sum_columns() -> Vec<(String, bool)> {
    let plain = |name: &str| (name.to_owned(), false);
    let mut columns = vec![plain("requests"), plain("errors")];
    columns.extend(
        Outcome::ALL
            .iter()
            .map(|outcome| (format!("{outcome}_requests"), false)),
    );
    columns.extend(
        [
            "unpriced_requests",
            "missing_usage_requests",
            "partial_requests",
            "estimated_requests",
        ]
        .map(plain),
    );
    columns.extend(
        TokenType::ALL
            .iter()
            .map(|kind| (format!("{kind}_tokens"), true)),
    );
    columns.push(("total_tokens".to_owned(), true));
    columns.push(("cost_nanousd".to_owned(), true));
    columns.extend(
        [
            "total_us_sum",
            "total_us_count",
            "first_token_us_sum",
            "first_token_us_count",
            "request_bytes",
            "response_bytes",
        ]
        .map(plain),
    );
    columns.extend(
        Unit::ALL
            .iter()
            .map(|unit| (unit.column().to_owned(), true)),
    );
    columns.push(("estimated_cost_nanousd".to_owned(), true));
    columns
}

/// Inserts a key or adds to it.
static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let columns = sum_columns();
    let mut names = String::from("minute, channel, model, api, key");
    let mut updates = String::new();
    for (name, nullable) in &columns {
        let _infallible = write!(names, ", {name}");
        let separator = if updates.is_empty() { "" } else { ", " };
        let _infallible = write!(updates, "{separator}{}", addition(name, *nullable));
    }
    format!(
        "INSERT INTO usage_minutely ({names}) VALUES (?{}) \
         ON CONFLICT (minute, channel, model, api, key) DO UPDATE SET {updates}",
        ", ?".repeat(names.matches(',').count())
    )
});
