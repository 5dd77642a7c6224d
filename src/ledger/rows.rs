//! Entries as rows of `requests` and `attempts`.
//!
//! Values are bound one by one: no list of boxed values is built for a row.

use std::fmt::Write;
use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection, ToSql};
use serde::{Serialize, Serializer};

use super::wire::{AdmissionView, AttemptView, RecordView};
use crate::money::NanoUsd;
use crate::record::{
    Deferral, Disposition, Figures, Outcome, Phase, Phases, RequestId, Source, TokenType, Tokens,
    Unit, Units, UsageSource, Worst,
};

/// An unsigned number as SQLite's signed one; beyond its range (2^63) it stays at the range's end.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What becomes a row of `requests`.
#[derive(Clone, Copy)]
pub(super) enum Row<'r, 'p> {
    /// A request that ended.
    Ended(&'r RecordView<'p>),
    /// A request whose process was gone before it ended: what an attempt, a token, a byte of it
    /// was, nobody knows.
    Interrupted(&'r AdmissionView<'p>),
}

impl<'r, 'p> Row<'r, 'p> {
    pub(super) fn admission(self) -> &'r AdmissionView<'p> {
        match self {
            Self::Ended(record) => &record.admission,
            Self::Interrupted(admission) => admission,
        }
    }

    pub(super) fn record(self) -> Option<&'r RecordView<'p>> {
        match self {
            Self::Ended(record) => Some(record),
            Self::Interrupted(_) => None,
        }
    }

    pub(super) fn outcome(self) -> Outcome {
        self.record()
            .map_or(Outcome::Interrupted, |record| record.outcome)
    }

    fn disposition(self) -> Disposition {
        match self {
            Self::Ended(record) => record.disposition(),
            Self::Interrupted(admission) => Disposition {
                outcome: Outcome::Interrupted,
                billable: admission.billable,
                deferral: None,
            },
        }
    }

    /// What budgets count for it while it has no cost. Of a request without an end the input is
    /// spent; what the rest came to, nobody knows.
    pub(super) fn assumed_cost(self) -> Option<NanoUsd> {
        match self {
            Self::Ended(record) if record.cost.is_some() => None,
            Self::Ended(record) => record.assumed_cost,
            Self::Interrupted(admission) => admission.interrupted_cost,
        }
    }

    /// The most that it may have used, where that is still to be seen.
    fn worst(self) -> Option<Worst> {
        let is_open = match self {
            Self::Ended(record) => record.awaits_usage(),
            Self::Interrupted(_) => true,
        };
        self.admission().worst.filter(|_| is_open)
    }

    /// What rules see of it; `None` when it is nothing for them.
    pub(super) fn figures(self) -> Option<Figures> {
        let started_at = self.admission().started_at;
        let Some(record) = self.record() else {
            return Figures::of(
                started_at,
                self.disposition(),
                &Tokens::default(),
                None,
                &Phases::default(),
                self.assumed_cost(),
            );
        };
        let cost = record.cost.as_ref().map(|cost| cost.amount);
        Figures::of(
            started_at,
            self.disposition(),
            &record.usage.tokens,
            record.usage.total,
            &record.phases,
            cost.or(self.assumed_cost()),
        )
    }

    pub(super) fn usage_source(self) -> UsageSource {
        self.record()
            .map_or(UsageSource::Missing, |record| record.usage.source)
    }
}

/// The statements that insert rows, prepared once a connection.
pub(super) struct Inserter<'c> {
    request: CachedStatement<'c>,
    attempt: CachedStatement<'c>,
    /// The tags of the present row as JSON.
    tags: Vec<u8>,
}

impl<'c> Inserter<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            request: connection.prepare_cached(&INSERT_REQUEST)?,
            attempt: connection.prepare_cached(
                "INSERT INTO attempts (request_id, n, channel, started_at, outcome, status, \
                 error_code, connect_us, wait_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            tags: Vec::new(),
        })
    }

    /// Inserts a row with this sequence number, and its attempts.
    pub(super) fn insert(&mut self, row: Row<'_, '_>, sequence: i64) -> rusqlite::Result<()> {
        let mut id = [0; 36];
        let id = row.admission().id.encode(&mut id);
        self.insert_request(row, sequence, id)?;
        if let Some(record) = row.record() {
            for (n, attempt) in (1_i64..).zip(&record.attempts) {
                insert_attempt(&mut self.attempt, id, n, attempt)?;
            }
        }
        Ok(())
    }

    /// Binds in the order of [`INSERT_REQUEST`].
    fn insert_request(
        &mut self,
        row: Row<'_, '_>,
        sequence: i64,
        id: &str,
    ) -> rusqlite::Result<()> {
        let admission = row.admission();
        let record = row.record();
        let mut bind = Binder::new(&mut self.request);
        bind.next(sequence)?;
        bind.next(id)?;
        bind.next(admission.started_at.0)?;
        bind.next(admission.channel)?;
        bind.next(admission.key)?;
        bind.next(admission.api.as_str())?;
        bind.next(admission.method)?;
        bind.next(admission.path)?;
        bind.next(admission.requested_model)?;
        bind.next(record.and_then(|record| record.served_model))?;
        bind.next(record.and_then(|record| record.service_tier))?;
        bind.next(admission.stream)?;
        bind.next(record.and_then(|record| record.status))?;
        bind.next(row.outcome().as_str())?;
        let error_source = match record {
            Some(record) => record.error_source,
            None => Some(crate::record::ErrorSource::Internal),
        };
        bind.next(error_source.map(crate::record::ErrorSource::as_str))?;
        bind.next(record.and_then(|record| record.error_code))?;
        bind.next(record.and_then(|record| record.error_message))?;
        bind.next(record.map(|record| stored(record.attempts.len() as u64)))?;
        let tokens = record.map_or_else(Tokens::default, |record| record.usage.tokens);
        for &kind in TokenType::ALL {
            bind.next(tokens[kind].map(stored))?;
        }
        bind.next(record.and_then(|record| record.usage.total).map(stored))?;
        bind.next(row.usage_source().as_str())?;
        let cost = record.and_then(|record| record.cost.as_ref());
        bind.next(cost.map(|cost| cost.amount.0))?;
        bind.next(cost.map(|cost| cost.price_version))?;
        let phases = record.map_or_else(Phases::default, |record| record.phases);
        for &phase in Phase::ALL {
            bind.next(phases[phase].map(stored))?;
        }
        bind.next(stored(admission.request_bytes))?;
        bind.next(record.map(|record| stored(record.response_bytes)))?;
        bind.next(record.and_then(|record| record.upstream_request_id))?;
        bind.next(admission.session)?;
        bind.next(admission.end_user)?;
        bind.next(tags_json(&admission.tags, &mut self.tags))?;
        bind.next(
            record
                .map_or(Source::Proxy, |record| record.source)
                .as_str(),
        )?;
        let units = record.map_or(Units::NONE, |record| record.usage.units);
        for &unit in Unit::ALL {
            bind.next(units[unit].map(stored))?;
        }
        bind.next(record.and_then(|record| record.response_id))?;
        let deferral = record.and_then(|record| record.deferral);
        bind.next(deferral.map(Deferral::as_str))?;
        let estimate = record
            .and_then(|record| record.estimate)
            .unwrap_or_default();
        bind.next(estimate.input_tokens.map(stored))?;
        bind.next(estimate.output_tokens.map(stored))?;
        bind.next(estimate.cost.map(|cost| cost.0))?;
        bind.next(record.and_then(|record| record.delivered_output_tokens.map(stored)))?;
        bind.next(record.and_then(|record| record.upstream_bytes.map(stored)))?;
        bind.next(record.and_then(|record| record.priced_at.map(|at| at.0)))?;
        bind.next(row.assumed_cost().map(|cost| cost.0))?;
        let worst = row.worst();
        bind.next(worst.map(|worst| worst.is_unbounded()))?;
        let worst = worst.unwrap_or_default();
        bind.next(worst.cost.map(|cost| cost.0))?;
        bind.next(worst.input_tokens.map(stored))?;
        bind.next(worst.output_tokens.map(stored))?;
        bind.next(admission.billable)?;
        self.request.raw_execute()?;
        Ok(())
    }
}

/// The statement that inserts a row; its columns in the order they are bound in.
static INSERT_REQUEST: LazyLock<String> = LazyLock::new(|| {
    let mut columns = String::from(
        "sequence, id, started_at, channel, key, api, method, path, requested_model, \
         served_model, service_tier, stream, status, outcome, error_source, error_code, \
         error_message, attempts",
    );
    for kind in TokenType::ALL {
        let _infallible = write!(columns, ", {kind}_tokens");
    }
    columns.push_str(", total_tokens, usage_source, cost_nanousd, price_version");
    for phase in Phase::ALL {
        let _infallible = write!(columns, ", {phase}_us");
    }
    columns.push_str(
        ", request_bytes, response_bytes, upstream_request_id, session, end_user, tags, source",
    );
    for unit in Unit::ALL {
        let _infallible = write!(columns, ", {}", unit.column());
    }
    columns.push_str(
        ", response_id, deferral, estimated_input_tokens, estimated_output_tokens, \
         estimated_cost_nanousd, delivered_output_tokens, upstream_bytes, priced_at, \
         assumed_cost_nanousd, worst_unbounded, worst_cost_nanousd, worst_input_tokens, \
         worst_output_tokens, billable",
    );
    let count = columns.matches(',').count();
    format!(
        "INSERT INTO requests ({columns}) VALUES (?{})",
        ", ?".repeat(count)
    )
});

fn insert_attempt(
    statement: &mut CachedStatement<'_>,
    id: &str,
    n: i64,
    attempt: &AttemptView<'_>,
) -> rusqlite::Result<()> {
    let mut bind = Binder::new(statement);
    bind.next(id)?;
    bind.next(n)?;
    bind.next(attempt.channel)?;
    bind.next(attempt.started_at.0)?;
    bind.next(attempt.outcome.as_str())?;
    bind.next(attempt.status)?;
    bind.next(attempt.error_code)?;
    bind.next(attempt.connect_us.map(stored))?;
    bind.next(attempt.wait_us.map(stored))?;
    statement.raw_execute()?;
    Ok(())
}

/// Tags as a JSON object.
struct Tags<'t, 'p>(&'t [(&'p str, &'p str)]);

impl Serialize for Tags<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// The tags' column; `None` when there are none. Writes into `buffer`.
fn tags_json<'b>(tags: &[(&str, &str)], buffer: &'b mut Vec<u8>) -> Option<&'b str> {
    if tags.is_empty() {
        return None;
    }
    buffer.clear();
    serde_json::to_writer(&mut *buffer, &Tags(tags)).ok()?;
    std::str::from_utf8(buffer).ok()
}

/// Binds parameters from left to right.
pub(super) struct Binder<'s, 'c> {
    statement: &'s mut CachedStatement<'c>,
    index: usize,
}

impl<'s, 'c> Binder<'s, 'c> {
    pub(super) fn new(statement: &'s mut CachedStatement<'c>) -> Self {
        Self {
            statement,
            index: 0,
        }
    }

    pub(super) fn next(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.index += 1;
        self.statement.raw_bind_parameter(self.index, value)
    }
}

/// The row of an admission that was kept in the table `admissions`.
pub(super) fn keep_admission(
    connection: &Connection,
    stream: &str,
    id: RequestId,
    payload: &[u8],
) -> rusqlite::Result<()> {
    let mut buffer = [0; 36];
    connection
        .prepare_cached("INSERT INTO admissions (id, stream, payload) VALUES (?, ?, ?)")?
        .execute((id.encode(&mut buffer), stream, payload))?;
    Ok(())
}

/// Forgets an admission kept in the table `admissions`.
pub(super) fn forget_admission(connection: &Connection, id: RequestId) -> rusqlite::Result<()> {
    let mut buffer = [0; 36];
    connection
        .prepare_cached("DELETE FROM admissions WHERE id = ?")?
        .execute([id.encode(&mut buffer)])?;
    Ok(())
}
