//! Pricing history anew: what a correction of the prices does to rows that are in the ledger.
//!
//! Rows of a range of time are looked at in the order they started, a batch a transaction. A
//! transaction holds a batch's new costs, the old ones in `repricings`, and the differences in the
//! roll-ups, so rows and roll-ups agree whenever it stops. A row that already costs what the prices
//! say is left as it is: doing it again changes nothing, and after a crash doing it again finishes
//! it.
//!
//! What stays as it is: a cost the provider stated, a row without known usage, and the cost of a
//! row whose model has no price any more (to forget what is known would make it unknown).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use rusqlite::{Connection, TransactionBehavior};

use super::OpenError;
use super::control::Control;
use super::query::{QueryError, ReadError, StoredRequest, rows_in_order};
use super::rollup::{self, CostChange, RollupKey};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::pricing::{ModelName, PriceTable};
use crate::record::{Cost, is_unpriced};

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

/// Whose prices hold at a channel, by its name ([`crate::pricing::provider_of`]).
pub type Sellers = HashMap<String, &'static str>;

/// What rows are priced by. The ledger keeps the name of a channel and not whose it was: a channel
/// that the settings no longer name sells at the prices of the models' makers.
#[derive(Clone, Debug)]
pub struct PriceBook {
    /// The present prices.
    pub table: Arc<PriceTable>,
    /// Whose of them hold where.
    pub sellers: Arc<Sellers>,
}

impl PriceBook {
    fn price(&self, row: &StoredRequest) -> Option<Cost> {
        let channel = row.channel.as_ref();
        let seller = channel.and_then(|channel| self.sellers.get(channel).copied());
        self.table.price_row(
            row.api,
            ModelName::at(seller, model_of(row)?),
            row.service_tier.as_deref(),
            &row.usage,
            row.started_at,
        )
    }
}

/// What pricing anew did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepriceReport {
    /// The number of this run in the audit; `None` when nothing was changed.
    pub run: Option<i64>,
    /// The versions of the price layers it was done with, the one that is asked first at the front.
    pub layers: Vec<String>,
    /// By model, in the order of the names.
    pub models: Vec<(Option<String>, Repriced)>,
    /// Everything.
    pub total: Repriced,
    /// Requests of the range whose rows retention has deleted: their part of the roll-ups cannot be
    /// priced anew.
    pub expired_requests: u64,
}

/// Rows of one model in the range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repriced {
    /// How many there are.
    pub requests: u64,
    /// Of them, those whose cost changed, the newly priced ones included.
    pub changed: u64,
    /// Those that had no cost and have one now.
    pub newly_priced: u64,
    /// Those that have no price now: they keep the cost they had.
    pub kept: u64,
    /// Those without a cost, before and after.
    pub unpriced: u64,
    /// Those whose cost the provider stated.
    pub stated: u64,
    /// Those of whose usage nothing is known, or that have none.
    pub without_usage: u64,
    /// What those with a cost cost together before; `None` when none had one.
    pub old_cost: Option<NanoUsd>,
    /// What those with a cost cost together now; `None` when none has one.
    pub new_cost: Option<NanoUsd>,
}

impl Repriced {
    /// New less old, by which the sums of what is known change.
    #[must_use]
    pub fn difference(&self) -> NanoUsd {
        let known = |cost: Option<NanoUsd>| cost.unwrap_or_default().0;
        NanoUsd(known(self.new_cost).saturating_sub(known(self.old_cost)))
    }

    fn count(&mut self, row: &StoredRequest, verdict: &Verdict) {
        let old = row.cost.as_ref().map(|cost| cost.amount);
        let new = match verdict {
            Verdict::Changed(new) => Some(new.amount),
            _ => old,
        };
        self.requests += 1;
        add_known(&mut self.old_cost, old);
        add_known(&mut self.new_cost, new);
        match verdict {
            Verdict::Changed(_) => {
                self.changed += 1;
                self.newly_priced += u64::from(row.cost.is_none());
            }
            Verdict::Unchanged => {}
            Verdict::Kept => self.kept += 1,
            Verdict::Unpriced => self.unpriced += 1,
            Verdict::Stated => self.stated += 1,
            Verdict::WithoutUsage => self.without_usage += 1,
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.changed += other.changed;
        self.newly_priced += other.newly_priced;
        self.kept += other.kept;
        self.unpriced += other.unpriced;
        self.stated += other.stated;
        self.without_usage += other.without_usage;
        add_known(&mut self.old_cost, other.old_cost);
        add_known(&mut self.new_cost, other.new_cost);
    }
}

fn add_known(sum: &mut Option<NanoUsd>, amount: Option<NanoUsd>) {
    if let Some(amount) = amount {
        *sum = Some(sum.unwrap_or_default() + amount);
    }
}

/// Why history was not (or not to the end) priced anew. What was done before stays done; asking
/// again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RepriceError {
    /// This process does not write the ledger: it is closing, or another one has the role.
    #[error("this process is not (or no longer) the ledger's writer; ask again in a moment")]
    NotWriter,
    /// It is being done already.
    #[error("history is being priced anew already; ask again when that is done")]
    Busy,
    /// The ledger cannot be opened for writing.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] QueryError),
    /// A transaction failed.
    #[error(
        "cannot write the ledger at {path}: {source}; what was done so far stays done, ask again \
         for the rest"
    )]
    Write {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// A fault of this program's own.
    #[error("the ledger's writer met a fault of its own; nothing is half done, ask again")]
    Fault,
}

impl RepriceError {
    pub(super) fn of_step(error: ReadError, database: &Path) -> Self {
        match error {
            ReadError::Database(source) => Self::Write {
                path: database.to_owned(),
                source,
            },
            unreadable @ ReadError::Unreadable { .. } => Self::Read(unreadable.at(database)),
        }
    }
}

/// The way to have a running ledger's history priced anew. Clones ask the same ledger.
#[derive(Clone, Debug)]
pub struct Repricer {
    control: Arc<Control>,
}

impl Repricer {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// Has the ledger's writer price rows anew, in between new records, and waits for it. One at a
    /// time; who asks meanwhile gets [`RepriceError::Busy`]. It goes on when nobody waits any more.
    pub fn reprice(
        &self,
        query: RepriceQuery,
        prices: PriceBook,
    ) -> Result<RepriceReport, RepriceError> {
        let (answer, answered) = mpsc::channel();
        self.control.ask_to_reprice(Job {
            pass: Pass::new(query, prices),
            answer,
        })?;
        // The writer went away without a word.
        answered.recv().unwrap_or(Err(RepriceError::NotWriter))
    }
}

/// A walk that the writer takes step by step, and who waits for its end.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) pass: Pass,
    answer: Sender<Result<RepriceReport, RepriceError>>,
}

impl Job {
    /// Tells the end of it. Nobody listens any more: what was done is done.
    pub(super) fn tell(self, result: Result<(), RepriceError>) {
        let report = result.map(|()| self.pass.report());
        let _ = self.answer.send(report);
    }
}

/// What is to become of a row.
enum Verdict {
    Changed(Cost),
    Unchanged,
    Kept,
    Unpriced,
    Stated,
    WithoutUsage,
}

fn judge(row: &StoredRequest, prices: &PriceBook) -> Verdict {
    if row
        .cost
        .as_ref()
        .is_some_and(|cost| &*cost.price_version == Cost::STATED)
    {
        return Verdict::Stated;
    }
    if !is_unpriced(row.usage.source, false) {
        return Verdict::WithoutUsage;
    }
    match (&row.cost, prices.price(row)) {
        (None, None) => Verdict::Unpriced,
        (Some(_), None) => Verdict::Kept,
        (Some(old), Some(new)) if old.amount == new.amount => Verdict::Unchanged,
        (_, Some(new)) => Verdict::Changed(new),
    }
}

/// The model that answered, else the one that was asked for: what a row is priced and rolled up by.
fn model_of(row: &StoredRequest) -> Option<&str> {
    row.served_model
        .as_deref()
        .or(row.requested_model.as_deref())
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

/// What a batch found.
struct Batch {
    rows: Vec<(StoredRequest, Verdict)>,
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
    ) -> Result<bool, ReadError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let expired_requests = self.expired(&transaction)?;
        let batch = self.read(&transaction)?;
        let mut run = self.run;
        let mut rollups: HashMap<RollupKey, CostChange> = HashMap::new();
        let mut done = Repriced::default();
        for (row, verdict) in &batch.rows {
            let Verdict::Changed(new) = verdict else {
                continue;
            };
            let run = match run {
                Some(run) => run,
                None => *run.insert(self.begin_run(&transaction, now)?),
            };
            done.count(row, verdict);
            self.change(&transaction, run, now, row, new)?;
            let change = rollups.entry(rollup_key(row)).or_default();
            change.cost_nanousd = change.cost_nanousd.saturating_add(
                new.amount
                    .0
                    .saturating_sub(row.cost.as_ref().map_or(0, |cost| cost.amount.0)),
            );
            change.newly_priced += i64::from(row.cost.is_none());
        }
        rollup::adjust_costs(&transaction, &rollups)?;
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
                let verdict = judge(&row, &self.prices);
                (row, verdict)
            })
            .collect();
        Ok(Batch { rows, next })
    }

    /// Counts a batch; `true` when it was the last.
    fn count(&mut self, batch: &Batch) -> bool {
        for (row, verdict) in &batch.rows {
            let model = model_of(row).map(str::to_owned);
            self.models.entry(model).or_default().count(row, verdict);
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
                "UPDATE requests SET cost_nanousd = ?, price_version = ? WHERE sequence = ?",
            )?
            .execute((new.amount.0, &*new.price_version, row.sequence.0))?;
        Ok(())
    }
}

fn rollup_key(row: &StoredRequest) -> RollupKey {
    RollupKey {
        minute: row.started_at.minute().0,
        channel: row.channel.clone().unwrap_or_default(),
        model: model_of(row).unwrap_or_default().to_owned(),
        api: row.api,
        key: row.key.clone().unwrap_or_default(),
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
