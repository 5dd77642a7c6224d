//! Pricing history anew: what a correction of the prices does to rows that are in the ledger.
//!
//! Rows of a range of time are looked at in the order they started, a batch a transaction. A
//! transaction holds a batch's new costs, the old ones in `repricings`, the differences in the
//! roll-ups of usage and of windows, and the dearest of each hour, so rows and roll-ups agree whenever
//! it stops. A row that already costs what the prices
//! say is left as it is: doing it again changes nothing, and after a crash doing it again finishes
//! it. The same holds for what Tollgate's own count would cost beside a usage that is missing, but
//! that `repricings` keeps no old figures of such estimates. What budgets assumed of a row gives way
//! to its cost, or follows its estimate.
//!
//! What stays as it is: a cost the provider stated, a row without known usage, and the cost of a
//! row whose model has no price any more (to forget what is known would make it unknown).

mod book;
mod job;
mod report;

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, TransactionBehavior};

use super::hours;
use super::query::{ReadError, StoredRequest, rows_in_order};
use super::rollup::{self, AdjustError, CostChange, MissingRollup, RollupKey};
use super::windows::{self, CostChanges};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::record::Cost;

use book::{Verdict, model_of};

pub use book::{PriceBook, Sellers};
pub use job::{RepriceError, Repricer};
pub use report::{RepriceReport, Repriced};

pub(super) use job::Job;

/// Usual rows looked at in a transaction: some milliseconds, so that new records hardly wait.
const ROWS_A_BATCH: u32 = 500;

/// Which rows, and who wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepriceQuery {
    /// Started at this moment or later.
    pub since: UnixMicros,
    /// Started before this moment.
    pub until: UnixMicros,
    /// Answered by this model, or asked for it where the provider named none; every model if
    /// `None`.
    pub model: Option<String>,
    /// Who asked, for the audit.
    pub who: String,
}

/// A walk through the rows of a query.
#[derive(Debug)]
pub(super) struct Pass {
    query: RepriceQuery,
    prices: PriceBook,
    /// Start and sequence number of the last row looked at.
    position: (i64, i64),
    /// Rows looked at in a transaction.
    pub(super) rows_a_batch: u32,
    models: BTreeMap<Option<String>, Repriced>,
    run: Option<i64>,
    expired_requests: Option<u64>,
}

/// A row that was looked at.
struct Looked {
    row: StoredRequest,
    verdict: Verdict,
    /// The new cost of its estimate.
    estimate: Option<NanoUsd>,
}

impl Looked {
    /// What budgets are to count for it from now on, where that changes.
    fn counted(&self) -> Option<NanoUsd> {
        match &self.verdict {
            Verdict::Changed(new) => Some(new.amount),
            _ if self.row.cost.is_some() => None,
            _ => self.estimate.filter(|_| self.row.assumed_cost.is_some()),
        }
    }
}

/// Why a batch was not done.
#[derive(Debug)]
pub(super) enum StepError {
    Read(ReadError),
    Rollup(MissingRollup),
}

impl From<ReadError> for StepError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<rusqlite::Error> for StepError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(error.into())
    }
}

impl From<AdjustError> for StepError {
    fn from(error: AdjustError) -> Self {
        match error {
            AdjustError::Missing(missing) => Self::Rollup(missing),
            AdjustError::Database(error) => error.into(),
        }
    }
}

/// What a batch found.
struct Batch {
    rows: Vec<Looked>,
    /// Where it ended; `None` when there is nothing behind it.
    next: Option<(i64, i64)>,
}

impl Pass {
    pub(super) fn new(query: RepriceQuery, prices: PriceBook) -> Self {
        Self {
            position: (query.since.0, i64::MIN),
            query,
            prices,
            rows_a_batch: ROWS_A_BATCH,
            models: BTreeMap::new(),
            run: None,
            expired_requests: None,
        }
    }

    /// Changes the next rows, in one transaction; `true` when there are no more.
    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        now: UnixMicros,
    ) -> Result<bool, StepError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let expired_requests = self.expired(&transaction)?;
        let batch = self.read(&transaction)?;
        let mut run = self.run;
        let mut rollups: HashMap<RollupKey, CostChange> = HashMap::new();
        let tiers_known_after = rollup::tiers_known_after(&transaction)?;
        let mut budgets = CostChanges::new();
        let mut done = Repriced::default();
        for looked in &batch.rows {
            let Looked { row, estimate, .. } = looked;
            let new = match &looked.verdict {
                Verdict::Changed(new) => Some(new),
                _ => None,
            };
            if new.is_none() && estimate.is_none() {
                continue;
            }
            let run = match run {
                Some(run) => run,
                None => *run.insert(self.begin_run(&transaction, now)?),
            };
            if let Some(counted) = looked.counted()
                && let Some(window) = windows::key_of(row)
            {
                let before = row.cost.as_ref().map(|cost| cost.amount);
                let sum = budgets.entry(window).or_default();
                add_difference(sum, before.or(row.assumed_cost), counted);
            }
            let group = rollup_key(row, tiers_known_after);
            if let Some(new) = new {
                hours::raise_cost(&transaction, &group, new.amount)?;
            }
            let change = rollups.entry(group).or_default();
            if let Some(new) = new {
                done.count(looked);
                self.change(&transaction, run, now, row, new)?;
                let old = row.cost.as_ref().map(|cost| cost.amount);
                add_difference(&mut change.cost_nanousd, old, new.amount);
                change.newly_priced += i64::from(old.is_none());
            }
            if let Some(new) = *estimate {
                transaction
                    .prepare_cached(
                        "UPDATE requests SET estimated_cost_nanousd = ?1, assumed_cost_nanousd = \
                         iif(assumed_cost_nanousd IS NULL, NULL, ?1) WHERE sequence = ?2",
                    )?
                    .execute((new.0, row.sequence.0))?;
                let old = row.estimate.and_then(|estimate| estimate.cost);
                add_difference(&mut change.estimated_nanousd, old, new);
            }
        }
        rollup::adjust_costs(&transaction, &rollups)?;
        windows::adjust_costs(&transaction, &budgets)?;
        if let Some(run) = run {
            note_progress(
                &transaction,
                run,
                &done,
                batch.next.is_none().then_some(now),
            )?;
        }
        transaction.commit()?;
        // Only now: a batch that was rolled back has not been.
        self.run = run;
        self.expired_requests = Some(expired_requests);
        Ok(self.count(&batch))
    }

    /// As [`Pass::step`], without changing anything.
    pub(super) fn preview(&mut self, connection: &Connection) -> Result<bool, ReadError> {
        self.expired_requests = Some(self.expired(connection)?);
        let batch = self.read(connection)?;
        Ok(self.count(&batch))
    }

    /// What was found so far.
    pub(super) fn report(self) -> RepriceReport {
        let mut total = Repriced::default();
        for model in self.models.values() {
            total.add(model);
        }
        let layers = self.prices.table.layers().iter();
        RepriceReport {
            run: self.run,
            layers: layers.map(|layer| layer.version().to_owned()).collect(),
            models: self.models.into_iter().collect(),
            total,
            expired_requests: self.expired_requests.unwrap_or(0),
        }
    }

    fn read(&self, connection: &Connection) -> Result<Batch, ReadError> {
        let rows = rows_in_order(
            connection,
            self.position,
            self.query.until,
            self.rows_a_batch,
        )?;
        let next = rows
            .last()
            .filter(|_| rows.len() >= self.rows_a_batch as usize)
            .map(|row| (row.started_at.0, row.sequence.0));
        // Here and not in SQL: a model that is rare must not make a transaction long.
        let wanted = self.query.model.as_deref();
        let rows = rows
            .into_iter()
            .filter(|row| wanted.is_none() || model_of(row) == wanted)
            .map(|row| {
                let verdict = self.prices.judge(&row);
                let estimate = self.prices.estimate(&row);
                Looked {
                    row,
                    verdict,
                    estimate,
                }
            })
            .collect();
        Ok(Batch { rows, next })
    }

    /// Counts a batch; `true` when it was the last.
    fn count(&mut self, batch: &Batch) -> bool {
        for looked in &batch.rows {
            let model = model_of(&looked.row).map(str::to_owned);
            self.models.entry(model).or_default().count(looked);
        }
        match batch.next {
            Some(next) => {
                self.position = next;
                false
            }
            None => true,
        }
    }

    /// Requests of the range that the roll-ups know and `requests` no longer; asked once.
    fn expired(&self, connection: &Connection) -> rusqlite::Result<u64> {
        if let Some(known) = self.expired_requests {
            return Ok(known);
        }
        // Retention deletes what started first. So what is missing lies in the minutes up to that of
        // the oldest row; in whole ones, for a roll-up cannot be cut.
        let oldest: Option<i64> =
            connection.query_row("SELECT min(started_at) FROM requests", [], |row| row.get(0))?;
        let since = self
            .query
            .since
            .plus(std::time::Duration::from_micros(59_999_999));
        let since = since.minute().0;
        let until = self.query.until.minute().0;
        let end = oldest.map_or(until, |oldest| {
            until.min(UnixMicros(oldest).minute().0.saturating_add(60_000_000))
        });
        let count = |sql: &str| {
            connection.query_row(
                sql,
                rusqlite::params![since, end, self.query.model.as_deref()],
                |row| row.get::<_, Option<i64>>(0),
            )
        };
        let rolled_up = count(
            "SELECT sum(requests) FROM usage_minutely \
             WHERE minute >= ?1 AND minute < ?2 AND (?3 IS NULL OR model = ?3)",
        )?;
        let present = count(
            "SELECT count(*) FROM requests WHERE started_at >= ?1 AND started_at < ?2 \
             AND (?3 IS NULL OR coalesce(served_model, requested_model) = ?3)",
        )?;
        let expired = rolled_up.unwrap_or(0).saturating_sub(present.unwrap_or(0));
        Ok(u64::try_from(expired).unwrap_or(0))
    }

    fn begin_run(&self, connection: &Connection, now: UnixMicros) -> rusqlite::Result<i64> {
        connection.execute(
            "INSERT INTO repricing_runs (at, who, since, until, model, requests, newly_priced, \
             difference_nanousd) VALUES (?, ?, ?, ?, ?, 0, 0, 0)",
            (
                now.0,
                &self.query.who,
                self.query.since.0,
                self.query.until.0,
                self.query.model.as_deref(),
            ),
        )?;
        Ok(connection.last_insert_rowid())
    }

    fn change(
        &self,
        connection: &Connection,
        run: i64,
        now: UnixMicros,
        row: &StoredRequest,
        new: &Cost,
    ) -> rusqlite::Result<()> {
        let mut buffer = [0; 36];
        let id: &str = row.id.encode(&mut buffer);
        let old = row.cost.as_ref();
        connection
            .prepare_cached(
                "INSERT INTO repricings (request_id, run, at, who, old_cost_nanousd, \
                 new_cost_nanousd, old_price_version, new_price_version) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                id,
                run,
                now.0,
                &self.query.who,
                old.map(|cost| cost.amount.0),
                new.amount.0,
                old.map(|cost| &*cost.price_version),
                &*new.price_version,
            ))?;
        connection
            .prepare_cached(
                "UPDATE requests SET cost_nanousd = ?, price_version = ?, \
                 assumed_cost_nanousd = NULL WHERE sequence = ?",
            )?
            .execute((new.amount.0, &*new.price_version, row.sequence.0))?;
        Ok(())
    }
}

fn add_difference(sum: &mut Option<i64>, old: Option<NanoUsd>, new: NanoUsd) {
    let difference = new.0.saturating_sub(old.unwrap_or_default().0);
    *sum = Some(sum.unwrap_or(0).saturating_add(difference));
}

fn rollup_key(row: &StoredRequest, tiers_known_after: i64) -> RollupKey {
    let tier = row.service_tier.clone();
    RollupKey {
        minute: row.started_at.minute().0,
        channel: row.channel.clone().unwrap_or_default(),
        model: model_of(row).unwrap_or_default().to_owned(),
        api: row.api,
        key: row.key.clone().unwrap_or_default(),
        tier: tier
            .filter(|_| row.sequence.0 > tiers_known_after)
            .unwrap_or_default(),
    }
}

/// Adds what a batch changed to its run; the last batch says when it ended.
fn note_progress(
    connection: &Connection,
    run: i64,
    done: &Repriced,
    finished_at: Option<UnixMicros>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE repricing_runs SET requests = requests + ?, newly_priced = newly_priced + ?, \
             difference_nanousd = max(min(difference_nanousd + ?, 9223372036854775807), \
             -9223372036854775808), finished_at = ? WHERE run = ?",
        )?
        .execute((
            super::rows::stored(done.changed),
            super::rows::stored(done.newly_priced),
            done.difference().0,
            finished_at.map(|at| at.0),
            run,
        ))?;
    Ok(())
}
