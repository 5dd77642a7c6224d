//! Sums over requests: what the roll-ups hold and what questions about usage add up. One list of
//! columns for what writes them, reads them and answers with them.

use std::fmt::Write;

use super::rows::{Binder, Row, stored};
use crate::record::{Outcome, Phase, TokenType, Unit, UsageSource, is_unpriced};

/// A sum that is 0 where there is nothing to add up. `COLUMNS` has their columns, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Requests whose tokens are known and have no price.
    Unpriced,
    /// Requests whose tokens should be known and are not.
    MissingUsage,
    /// Requests whose tokens are partly Tollgate's count.
    Partial,
    /// Requests whose tokens Tollgate counted.
    Estimated,
    /// Total durations, in microseconds.
    TotalUs,
    /// Requests that have one.
    TotalUsCount,
    /// Times to the first token, in microseconds.
    FirstTokenUs,
    /// Requests that have one.
    FirstTokenUsCount,
    /// Bytes of request bodies.
    RequestBytes,
    /// Bytes of answers' bodies.
    ResponseBytes,
}

impl Counted {
    const COLUMNS: [&'static str; 10] = [
        "unpriced_requests",
        "missing_usage_requests",
        "partial_requests",
        "estimated_requests",
        "total_us_sum",
        "total_us_count",
        "first_token_us_sum",
        "first_token_us_count",
        "request_bytes",
        "response_bytes",
    ];
}

/// A sum that is NULL while no request stated anything to add up, likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stated {
    /// All tokens.
    TotalTokens,
    /// Costs, in nano-dollars.
    Cost,
    /// What Tollgate's own counts beside missing usage would cost, in nano-dollars.
    EstimatedCost,
}

impl Stated {
    const COLUMNS: [&'static str; 3] = ["total_tokens", "cost_nanousd", "estimated_cost_nanousd"];
}

/// Sums of a group of requests. They stay at the end of their range instead of overflowing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) outcomes: [i64; Outcome::ALL.len()],
    counted: [i64; Counted::COLUMNS.len()],
    stated: [Option<i64>; Stated::COLUMNS.len()],
    pub(super) tokens: [Option<i64>; TokenType::ALL.len()],
    pub(super) units: [Option<i64>; Unit::ALL.len()],
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

/// What one request adds.
pub(super) struct Added<'a> {
    pub(super) outcome: Outcome,
    pub(super) source: UsageSource,
    pub(super) cost: Option<i64>,
    pub(super) estimated_cost: Option<i64>,
    pub(super) total_tokens: Option<i64>,
    pub(super) tokens: &'a [Option<i64>; TokenType::ALL.len()],
    pub(super) units: &'a [Option<i64>; Unit::ALL.len()],
    pub(super) total_us: Option<i64>,
    pub(super) first_token_us: Option<i64>,
    pub(super) request_bytes: i64,
    pub(super) response_bytes: i64,
}

impl Sums {
    /// A plain sum.
    pub(super) const fn counted(&self, sum: Counted) -> i64 {
        self.counted[sum as usize]
    }

    /// A sum of what was stated.
    pub(super) const fn stated(&self, sum: Stated) -> Option<i64> {
        self.stated[sum as usize]
    }

    /// The requests whose outcome is such.
    pub(super) fn requests(&self, such: impl Fn(Outcome) -> bool) -> i64 {
        let outcomes = Outcome::ALL.iter().zip(self.outcomes);
        outcomes
            .filter(|(outcome, _)| such(**outcome))
            .fold(0, |sum: i64, (_, count)| sum.saturating_add(count))
    }

    /// Counts one request in.
    pub(super) fn count(&mut self, one: &Added<'_>) {
        add(&mut self.outcomes[one.outcome as usize], 1);
        let is = |source| i64::from(one.source == source);
        let timed = |us: Option<i64>| (us.unwrap_or(0), i64::from(us.is_some()));
        let (total_us, total_us_count) = timed(one.total_us);
        let (first_token_us, first_token_us_count) = timed(one.first_token_us);
        for (sum, value) in [
            (
                Counted::Unpriced,
                i64::from(is_unpriced(one.source, one.cost.is_some())),
            ),
            (Counted::MissingUsage, is(UsageSource::Missing)),
            (Counted::Partial, is(UsageSource::Partial)),
            (Counted::Estimated, is(UsageSource::Estimated)),
            (Counted::TotalUs, total_us),
            (Counted::TotalUsCount, total_us_count),
            (Counted::FirstTokenUs, first_token_us),
            (Counted::FirstTokenUsCount, first_token_us_count),
            (Counted::RequestBytes, one.request_bytes),
            (Counted::ResponseBytes, one.response_bytes),
        ] {
            add(&mut self.counted[sum as usize], value);
        }
        for (sum, value) in [
            (Stated::TotalTokens, one.total_tokens),
            (Stated::Cost, one.cost),
            (Stated::EstimatedCost, one.estimated_cost),
        ] {
            add_known(&mut self.stated[sum as usize], value);
        }
        for (sums, values) in [
            (&mut self.tokens[..], &one.tokens[..]),
            (&mut self.units[..], &one.units[..]),
        ] {
            for (sum, &value) in sums.iter_mut().zip(values) {
                add_known(sum, value);
            }
        }
    }

    /// Counts a row in that is being written.
    pub(super) fn count_row(&mut self, row: Row<'_, '_>) {
        let record = row.record();
        let mut tokens = [None; TokenType::ALL.len()];
        let mut units = [None; Unit::ALL.len()];
        if let Some(record) = record {
            for &kind in TokenType::ALL {
                tokens[kind as usize] = record.usage.tokens[kind].map(stored);
            }
            for &unit in Unit::ALL {
                units[unit as usize] = record.usage.units[unit].map(stored);
            }
        }
        let phase = |phase: Phase| record?.phases[phase].map(stored);
        let estimate = record.and_then(|record| record.estimate);
        self.count(&Added {
            outcome: row.outcome(),
            source: row.usage_source(),
            cost: record
                .and_then(|record| record.cost.as_ref())
                .map(|cost| cost.amount.0),
            estimated_cost: estimate
                .and_then(|estimate| estimate.cost)
                .map(|cost| cost.0),
            total_tokens: record.and_then(|record| record.usage.total).map(stored),
            tokens: &tokens,
            units: &units,
            total_us: phase(Phase::Total),
            first_token_us: phase(Phase::FirstToken),
            request_bytes: stored(row.admission().request_bytes),
            response_bytes: record.map_or(0, |record| stored(record.response_bytes)),
        });
    }

    /// Adds what others come to.
    pub(super) fn merge(&mut self, other: &Self) {
        for (sums, values) in [
            (&mut self.outcomes[..], &other.outcomes[..]),
            (&mut self.counted[..], &other.counted[..]),
        ] {
            for (sum, &value) in sums.iter_mut().zip(values) {
                add(sum, value);
            }
        }
        for (sums, values) in [
            (&mut self.stated[..], &other.stated[..]),
            (&mut self.tokens[..], &other.tokens[..]),
            (&mut self.units[..], &other.units[..]),
        ] {
            for (sum, &value) in sums.iter_mut().zip(values) {
                add_known(sum, value);
            }
        }
    }

    /// Reads a roll-up's sums: `next` gives the value of each of [`read_columns`] in turn.
    pub(super) fn read(
        mut next: impl FnMut() -> rusqlite::Result<Option<i64>>,
    ) -> rusqlite::Result<Self> {
        let mut sums = Self::default();
        for plain in [&mut sums.outcomes[..], &mut sums.counted[..]] {
            for sum in plain {
                *sum = next()?.unwrap_or(0);
            }
        }
        for stated in [
            &mut sums.stated[..],
            &mut sums.tokens[..],
            &mut sums.units[..],
        ] {
            for sum in stated {
                *sum = next()?;
            }
        }
        Ok(sums)
    }

    /// Binds everything in the order of [`written_columns`].
    pub(super) fn bind(&self, bind: &mut Binder<'_, '_>) -> rusqlite::Result<()> {
        for plain in self.outcomes.iter().chain(&self.counted) {
            bind.next(plain)?;
        }
        for stated in self.stated.iter().chain(&self.tokens).chain(&self.units) {
            bind.next(stated)?;
        }
        bind.next(self.requests(|_| true))?;
        bind.next(self.requests(Outcome::is_error))
    }
}

/// The columns of a roll-up's sums that say everything, each with whether it may be NULL.
fn columns() -> impl Iterator<Item = (String, bool)> {
    let outcomes = Outcome::ALL
        .iter()
        .map(|outcome| (format!("{outcome}_requests"), false));
    let counted = Counted::COLUMNS.map(|name| (name.to_owned(), false));
    let stated = Stated::COLUMNS.map(|name| (name.to_owned(), true));
    outcomes.chain(counted).chain(stated).chain(used_columns())
}

/// The columns of tokens by type and of units, of roll-ups as of requests.
fn used_columns() -> impl Iterator<Item = (String, bool)> {
    let tokens = TokenType::ALL
        .iter()
        .map(|kind| (format!("{kind}_tokens"), true));
    let units = Unit::ALL
        .iter()
        .map(|unit| (unit.column().to_owned(), true));
    tokens.chain(units)
}

/// Those and the two that are there for people.
pub(super) fn written_columns() -> impl Iterator<Item = (String, bool)> {
    let summed = ["requests", "errors"].map(|name| (name.to_owned(), false));
    columns().chain(summed)
}

fn listed(columns: impl Iterator<Item = (String, bool)>) -> String {
    let mut list = String::new();
    for (name, _) in columns {
        let _infallible = write!(list, ", {name}");
    }
    list
}

/// What [`Sums::read`] reads.
pub(super) fn read_columns() -> String {
    let names: Vec<String> = columns().map(|(name, _)| name).collect();
    names.join(", ")
}

/// The columns of tokens by type, then of units, with a comma before each.
pub(super) fn token_and_unit_columns() -> String {
    listed(used_columns())
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
